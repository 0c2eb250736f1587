import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { describe, it } from 'node:test';
import type { ControlPlaneTrust } from '../../../src/core/control-plane-annotation.ts';
import { shortFingerprint } from '../../../src/core/trust.ts';
import { findComponents } from '../../../src/pki/components/find-components.ts';
import { readControlPlaneTrust } from '../../../src/trust/cluster/control-plane-trust.ts';
import { leafBy, next, old, other, writeControlPlane } from './control-plane-files.ts';

const [oldDigits, nextDigits, otherDigits] = [old, next, other].map(({ authority }) =>
  shortFingerprint(authority.fingerprint),
);

/** What a node with these files reports, without the time of its certificate for kubelets. */
async function reported(
  context: TestContext,
  files: Readonly<Record<string, string>>,
): Promise<ControlPlaneTrust> {
  const directories = await writeControlPlane(context, files);
  const staticPodPath = join(directories.kubernetes, 'manifests');
  const { components } = await findComponents({ staticPodPath, proc: '/none' });
  const found = await readControlPlaneTrust(components, directories);
  const { kubeletClientChangedAt = 0, ...rest } = found;
  assert.ok(Math.abs(Date.now() - kubeletClientChangedAt) < 3_600_000);
  return rest;
}

describe('readControlPlaneTrust()', () => {
  it('reports the CAs of each file, and the issuer of each certificate', async (context) => {
    const { kubeletAuthority, leaves, ...found } = await reported(context, {
      'ca.crt': old.pem + next.pem,
      'ca-next.crt': next.pem,
      'ca-signing.crt': old.pem,
      'kubelet-ca.crt': next.pem + other.pem,
      'etcd/ca.crt': other.pem,
      'front-proxy-ca.crt': other.pem + next.pem,
      'front-proxy-client.crt': leafBy(next).certificate.toString(),
    });
    assert.deepEqual(found, {
      authorities: [oldDigits, nextDigits],
      next: nextDigits,
      signer: oldDigits,
      etcdAuthorities: 1,
      frontProxyAuthorities: 2,
      frontProxyClient: nextDigits,
    });
    assert.deepEqual(
      Object.entries(leaves).map(([name, { issuer }]) => [name, issuer]),
      [
        ['admin.conf', nextDigits],
        ['apiserver', nextDigits],
        ['apiserver-kubelet-client', oldDigits],
        ['scheduler.conf', ''],
      ],
    );
    assert.match(leaves['apiserver']?.fingerprint ?? '', /^[\da-f]{16}$/);
    assert.equal(leaves['scheduler.conf']?.fingerprint, '');
    assert.deepEqual(kubeletAuthority?.authorities, [nextDigits, otherDigits]);
    assert.ok(kubeletAuthority.changedAt !== undefined);
  });

  it('reports files that are missing, and a signing file with two certificates', async (context) => {
    const found = await reported(context, { 'ca-signing.crt': old.pem + next.pem });
    assert.deepEqual(
      { ...found, leaves: {} },
      { authorities: [], signer: '', leaves: {}, kubeletAuthority: { authorities: [] } },
    );
  });

  it('reports no signer for a node without kube-controller-manager', async (context) => {
    const directories = await writeControlPlane(context, { 'ca.crt': old.pem });
    const manifests = join(directories.kubernetes, 'manifests');
    await rm(join(manifests, 'kube-controller-manager.yaml'));
    const { components } = await findComponents({ staticPodPath: manifests, proc: '/none' });
    const found = await readControlPlaneTrust(components, directories);
    assert.deepEqual([found.signer, found.authorities], [undefined, [oldDigits]]);
  });
});
