import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { describe, it } from 'node:test';
import type { Clock } from '../../../src/sys/clock.ts';
import { systemClock } from '../../../src/sys/clock.ts';
import type { CheckContext } from '../../../src/trust/control-plane/check.ts';
import { requireLeaseAccess } from '../../../src/trust/control-plane/lease-access.ts';
import { issueWithOpenssl } from '../../pki/renewal/openssl-authority.ts';
import { kubeconfigOf } from '../../pki/renewal/renewal-tree.ts';
import { hastened } from '../../support/hastened-clock.ts';
import { temporaryDirectory } from '../../store/pairs.ts';
import { contextWith, next, old } from './check-context.ts';
import { startComponent } from './component-server.ts';

const { signal } = new AbortController();
const manager = 'kube-controller-manager';

/** Two minutes pass in a second. */
const fast: Clock = { ...systemClock, elapsed: () => hastened(120).elapsed() };

/** A standby whose kubeconfig trusts the old CA and has a certificate from the new CA. */
async function standby(test: TestContext, port: number, flags = {}): Promise<CheckContext> {
  const extensions = ['extendedKeyUsage=clientAuth'];
  const leaf = issueWithOpenssl({ subject: '/CN=manager', extensions, signer: next });
  const path = join(await temporaryDirectory(test), 'controller-manager.conf');
  const text = kubeconfigOf(Buffer.from(old.pem), leaf);
  await writeFile(
    path,
    text.replace(
      /server: .*/,
      `server: https://127.0.0.1:${port}\n    tls-server-name: kubernetes.default.svc`,
    ),
  );
  const context = await contextWith({ apiServer: port }, { clock: fast });
  const given = Object.entries({ kubeconfig: path, ...flags });
  const component = {
    name: manager,
    source: { kind: 'static-pod', manifest: 'manager.yaml', container: manager },
    flags: given.map(([name, value]) => ({ name, value })),
    sharesNetwork: true,
    hostPath: (inside: string) => inside,
  } as const;
  return { ...context, node: { ...context.node, components: [component] } };
}

describe('requireLeaseAccess()', () => {
  it('returns if the API server accepts the kubeconfig', async (test) => {
    await using server = await startComponent({ served: old, trusted: [old, next] });
    await requireLeaseAccess(await standby(test, server.port), manager, signal);
  });

  it('fails if the API server rejects the certificate', async (test) => {
    await using server = await startComponent({ served: old, trusted: [old] });
    await assert.rejects(requireLeaseAccess(await standby(test, server.port), manager, signal), {
      code: 'CERT_UNTRUSTED',
      message:
        /^kube-controller-manager cannot become the leader with .*controller-manager.conf: .*401.*, 2m after/,
      remedy: /crictl logs/,
    });
  });

  it('fails if the kubeconfig does not trust the API server', async (test) => {
    await using server = await startComponent({ served: next, trusted: [old, next] });
    await assert.rejects(requireLeaseAccess(await standby(test, server.port), manager, signal), {
      code: 'CERT_UNTRUSTED',
      message: /^kube-controller-manager cannot become the leader with .*signed by/,
    });
  });

  it('needs no Lease without leader election', async (test) => {
    await using server = await startComponent({ served: old, trusted: [] });
    const context = await standby(test, server.port, { 'leader-elect': 'false' });
    await requireLeaseAccess(context, manager, signal);
  });
});
