import assert from 'node:assert/strict';
import { chmod } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { stringify } from 'yaml';
import { adopt, previewAdoption, revert } from '../../src/adopt/adoption.ts';
import type { AdoptionRequest } from '../../src/adopt/adoption.ts';
import { gatherFacts } from '../../src/adopt/facts.ts';
import { kubeletFacts } from '../../src/kubelet/configuration.ts';
import type { TestPair } from '../store/pairs.ts';
import { makePair, present } from '../store/pairs.ts';
import type { NodeFiles } from './node-files.ts';
import {
  clientLink,
  configFile,
  embedding,
  dropIns,
  following,
  kubeadmNode,
  kubeconfigFile,
  kubeconfigOf,
  requestFor,
  serverLink,
  startOf,
} from './kubeadm-node.ts';
import { snapshot } from './snapshot.ts';

/** Random nodes: adopt() reaches the target state, revert() restores every file. */

const dated = '/var/lib/kubelet/pki/kubelet-client-2026-06-01-00-00-00.pem';
const head = { apiVersion: 'kubelet.config.k8s.io/v1beta1', kind: 'KubeletConfiguration' };
const path = fc.constantFrom('/etc/a.pem', 'rel/b.pem', serverLink, clientLink, '');

const settings = fc.record(
  {
    rotateCertificates: fc.oneof(fc.boolean(), fc.constant(null)),
    serverTLSBootstrap: fc.oneof(fc.boolean(), fc.constant(null)),
    tlsCertFile: fc.oneof(path, fc.constant(null)),
    tlsPrivateKeyFile: path,
    clusterDNS: fc.constant(['10.96.0.10']),
    port: fc.constant(10_250),
  },
  { requiredKeys: [] },
);

/** The same values in several notations. */
const configText = fc
  .record({
    settings,
    json: fc.constantFrom(undefined, 0, 2, 4),
    comment: fc.boolean(),
    crlf: fc.boolean(),
    lastLine: fc.boolean(),
  })
  .map(({ settings, json, comment, crlf, lastLine }) => {
    const value = { ...head, ...settings };
    if (json !== undefined) return JSON.stringify(value, undefined, json);
    const text = stringify(value, { lineWidth: 0 });
    const lines = comment
      ? text.replace(/\n/g, ' # why\n').replace(/^(\s*- .*|\w+:) # why$/gm, '$1')
      : text;
    const whole = lastLine ? lines : lines.trimEnd();
    return crlf ? whole.replace(/\n/g, '\r\n') : whole;
  });

const flag = fc.constantFrom(
  '--rotate-certificates',
  '--rotate-certificates=false',
  '--rotate_server_certificates=true',
  '--rotate-server-certificates=0',
  '--tls-cert-file=/etc/x.pem',
  '--tls-private-key-file=/etc/x.key',
  `--tls-cert-file=${serverLink}`,
  '--v=2',
  '--node-ip=10.0.0.5',
);
const start = fc
  .record({ flags: fc.array(flag, { maxLength: 2 }), folder: fc.boolean() })
  .map(({ flags, folder }) => startOf(...flags, ...(folder ? [`--config-dir=${dropIns}`] : [])));

const kubeconfig = (pair: TestPair): fc.Arbitrary<string> =>
  fc.constantFrom(
    embedding(pair),
    following,
    kubeconfigOf([`client-certificate: ${dated}`, `client-key: ${dated}`, 'token: abc']),
    kubeconfigOf([
      '# a comment',
      `client-key: "${clientLink}"`,
      `client-certificate: '${dated}' # old`,
    ]),
  );

const mode = fc.constantFrom(0o600, 0o640, 0o644, 0o400);

test('adopt() adopts any node completely, and revert() restores it', async (t) => {
  const pair = await makePair();
  const nodes = fc.record({
    config: configText,
    kubeconfig: kubeconfig(pair),
    start,
    dropIns: fc.dictionary(
      fc.constantFrom('10-a.conf', '95-b.conf', 'sub/c.conf', 'README'),
      configText,
      { maxKeys: 3, noNullPrototype: true },
    ),
    modes: fc.tuple(mode, mode),
  });
  let adoptions = 0;
  await fc.assert(
    fc.asyncProperty(
      nodes,
      async ({ config, kubeconfig, start: kubelet, dropIns: more, modes }) => {
        const files: NodeFiles = {
          [configFile]: config,
          [kubeconfigFile]: kubeconfig,
          [`${dropIns}/none`]: ' ',
          ...Object.fromEntries(
            Object.entries(more).map(([name, text]) => [`${dropIns}/${name}`, text]),
          ),
        };
        const { tree } = await kubeadmNode(t, files);
        for (const [index, file] of [configFile, kubeconfigFile].entries()) {
          await chmod(join(tree.root, file), modes[index] ?? 0o600);
        }
        const request = requestFor(tree, { kubelet });
        const before = await snapshot(tree.root);
        const { plan, run } = await adopt(request);
        if (plan.obstacles.length > 0) {
          assert.deepEqual(await snapshot(tree.root), before);
          return;
        }
        adoptions += run === undefined ? 0 : 1;
        assert.deepEqual((await previewAdoption(request)).steps, []);
        await requireAdopted(request);
        await revert(request, { force: false });
        assert.deepEqual(await snapshot(tree.root), before);
      },
    ),
    { numRuns: 40 },
  );
  t.diagnostic(`${adoptions} adoptions`);
  assert.ok(adoptions > 15, `only ${adoptions} adoptions`);
});

/** By the rules of the kubelet, which test/real checks against a real one. */
async function requireAdopted(request: AdoptionRequest): Promise<void> {
  const { kubelet, configuration, kubeconfig } = await gatherFacts({ ...request, now: present });
  assert.ok(configuration.kind === 'read' && kubeconfig.kind === 'read' && kubeconfig.follows);
  const found = kubeletFacts(configFile, configuration);
  const flagged = (name: string): string | undefined =>
    kubelet.flags.findLast((each) => each.name === name)?.value;
  assert.match(
    flagged('rotate-certificates') ?? String(found.rotateCertificates?.value ?? false),
    /^(?:false|0)$/,
  );
  assert.match(
    flagged('rotate-server-certificates') ?? String(found.serverTLSBootstrap?.value ?? false),
    /^(?:false|0)$/,
  );
  assert.equal(flagged('tls-cert-file') ?? found.tlsCertFile?.value, serverLink);
  assert.equal(flagged('tls-private-key-file') ?? found.tlsPrivateKeyFile?.value, serverLink);
}
