import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { TestContext } from 'node:test';
import { second } from '../../../src/core/instant.ts';
import { checkControlPlane } from '../../../src/pki/renewal/control-plane-check.ts';
import type { ControlPlaneCheck } from '../../../src/pki/renewal/control-plane-check.ts';
import type { ComponentRestart } from '../../../src/pki/renewal/restart.ts';
import { systemClock } from '../../../src/sys/clock.ts';
import {
  ApiServer,
  base64,
  kubeconfigText,
  sendJson,
  sendStatus,
} from '../../kube/support/api-server.ts';
import { makeAuthority } from '../../kube/support/certificates.ts';
import { temporaryDirectory } from '../../store/pairs.ts';

const scheduler: ComponentRestart = {
  component: 'kube-scheduler',
  by: { kind: 'manifest', path: '/etc/kubernetes/manifests/kube-scheduler.yaml' },
  lease: { namespace: 'kube-system', name: 'kube-scheduler' },
};

interface Answers {
  /** The text of /readyz, for each request; the last one repeats. Ready if it has no `[-]`. */
  readonly readyz?: readonly string[];
  /** The spec of the Lease, for each request; the last one repeats. */
  readonly lease?: readonly Readonly<Record<string, string>>[];
}

const renewed = (seconds: number, holderIdentity = 'cp1_1'): Readonly<Record<string, string>> => ({
  holderIdentity,
  renewTime: `2026-11-28T12:00:${seconds}.000000Z`,
});

/** A clock on which a pause takes ten seconds. Only the timeout of a request takes real time. */
function fastClock(): typeof systemClock {
  let elapsed = 0;
  return {
    ...systemClock,
    elapsed: () => elapsed,
    sleep: async (ms, signal) => {
      if (ms >= second) return systemClock.sleep(ms, signal);
      elapsed += 10 * second;
    },
  };
}

/** Takes the first element, and leaves the last one. */
function next<T>(list: T[]): T | undefined {
  return list.length > 1 ? list.shift() : list[0];
}

/** An API server whose certificate lacks its address, as that of kubeadm, and its admin.conf. */
async function scene(
  test: TestContext,
  { readyz = ['[+]ping ok\n'], lease = [] }: Answers = {},
): Promise<{ readonly server: ApiServer; readonly check: ControlPlaneCheck }> {
  const kubernetes = await temporaryDirectory(test);
  const certificates = join(kubernetes, 'pki');
  const authority = await makeAuthority('kubernetes');
  const pair = await authority.issue({
    commonName: 'kube-apiserver',
    usages: ['server auth'],
    dnsNames: ['*.example.com', 'kubernetes'],
  });
  const [texts, specs] = [[...readyz], [...lease]];
  const server = await ApiServer.start(
    ({ url = '' }, response) => {
      if (url === '/readyz?verbose') {
        const text = next(texts) ?? '';
        response.writeHead(text.includes('[-]') ? 500 : 200).end(text);
        return;
      }
      const spec = next(specs);
      const details = { name: 'kube-scheduler', kind: 'leases' };
      if (spec === undefined) sendStatus(response, 404, { details });
      else sendJson(response, { metadata: { resourceVersion: '1' }, spec });
    },
    { authority, pair },
  );
  test.after(() => server[Symbol.asyncDispose]());
  await mkdir(certificates);
  const certificateFile = join(certificates, 'apiserver.crt');
  await writeFile(certificateFile, pair.cert);
  // The address of a load balancer, which the check does not use.
  const cluster = {
    server: 'https://192.0.2.1:6443',
    'certificate-authority-data': base64(authority.pem),
  };
  await writeFile(join(kubernetes, 'admin.conf'), kubeconfigText({ cluster }));
  const apiServer = {
    component: 'kube-apiserver',
    name: 'kube-apiserver',
    host: '127.0.0.1',
    port: server.port,
    certificateFile,
  };
  const { signal } = new AbortController();
  const directories = { kubernetes, certificates };
  const common = { directories, apiServer, version: '0.0.0', signal };
  return { server, check: { ...common, clock: fastClock(), restarted: [scheduler] } };
}

describe('checkControlPlane()', () => {
  const fine = [
    ['the API server is ready and the Lease is renewed', { lease: [renewed(10), renewed(12)] }],
    [
      'both recover in time',
      {
        readyz: ['[-]etcd failed: reason withheld\n', '[+]etcd ok\n'],
        lease: [renewed(10, ''), renewed(12, ''), renewed(14)],
      },
    ],
    ['the component has no Lease', {}],
  ] as const;
  for (const [when, answers] of fine) {
    it(`finds no problem when ${when}`, async (test) => {
      const { check } = await scene(test, answers);
      assert.deepEqual(await checkControlPlane(check), []);
    });
  }

  it('asks for no Lease without a restart', async (test) => {
    const { server, check } = await scene(test, { lease: [renewed(10)] });
    assert.deepEqual(await checkControlPlane({ ...check, restarted: [] }), []);
    assert.deepEqual(
      server.requests.map(({ url }) => url),
      ['/readyz?verbose'],
    );
  });

  it('names the checks of an API server that is not ready', async (test) => {
    const { check } = await scene(test, { readyz: ['[-]etcd failed: reason withheld\n'] });
    assert.deepEqual(await checkControlPlane(check), [
      {
        what: 'kube-apiserver has not been ready for 30s: etcd',
        remedy: "Read its log, and check it again: kubectl get --raw '/readyz?verbose'",
      },
    ]);
  });

  const stale = [
    [
      'of a process that has ended',
      renewed(10),
      /after the restart of kube-scheduler \(held by cp1_1\)$/,
    ],
    ['that no process holds', renewed(10, ''), /\(no process holds it\)$/],
  ] as const;
  for (const [what, spec, message] of stale) {
    it(`reports a Lease ${what}`, async (test) => {
      const { check } = await scene(test, { lease: [spec] });
      const [problem, ...others] = await checkControlPlane(check);
      assert.deepEqual(others, []);
      assert.match(problem?.what ?? '', message);
      assert.match(problem?.what ?? '', /^the Lease kube-system\/kube-scheduler was not renewed/);
      assert.match(problem?.remedy ?? '', /^Read its log: crictl logs .*kube-scheduler/);
    });
  }

  it('reports an API server that is down, with its own address', async (test) => {
    const { server, check } = await scene(test);
    await server[Symbol.asyncDispose]();
    const [problem] = await checkControlPlane(check);
    assert.match(
      problem?.what ?? '',
      /^the control plane was not checked after the renewal: .* at https:\/\/127\.0\.0\.1:\d+: .*ECONNREFUSED/,
    );
    assert.match(problem?.remedy ?? '', /^Start kube-apiserver/);
  });

  it('reports an admin.conf that does not exist', async (test) => {
    const { check } = await scene(test);
    const directories = { ...check.directories, kubernetes: '/nowhere' };
    const [problem] = await checkControlPlane({ ...check, directories });
    assert.match(problem?.what ?? '', /: kubeconfig \/nowhere\/admin\.conf does not exist/);
  });
});
