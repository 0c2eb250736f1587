import assert from 'node:assert/strict';
import { mkdir, rename, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { TestContext } from 'node:test';
import type { AgentConfig } from '../../src/core/config.ts';
import { day } from '../../src/core/instant.ts';
import type { KubeconfigState } from '../../src/doctor/kubeconfig-state.ts';
import { inspectKubeconfig, inspectNodeKubeconfig } from '../../src/doctor/kubeconfig-state.ts';
import { kubeletKubeconfig } from '../../src/store/kubeconfig-text.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { agentConfig } from '../keeper/fixtures.ts';
import { base64, kubeconfigText } from '../kube/support/api-server.ts';
import type { TestPair } from '../store/pairs.ts';
import { makePair, temporaryDirectory } from '../store/pairs.ts';

interface Place {
  readonly directory: string;
  readonly link: string;
  readonly dated: string;
  readonly pair: TestPair;
  readonly at: (name: string) => string;
  readonly look: (user: Readonly<Record<string, unknown>>) => Promise<KubeconfigState>;
}

const notAfter = Math.floor((Date.now() + 30 * day) / 1_000) * 1_000;

/** A certificate directory with a current certificate, and a directory for kubeconfigs. */
async function place(context: TestContext): Promise<Place> {
  const directory = await temporaryDirectory(context);
  const at = (name: string): string => join(directory, name);
  const pair = await makePair({ notBefore: Date.now() - day, notAfter });
  const dated = at('pki/kubelet-client-2026-01-01-00-00-00.pem');
  const link = at('pki/kubelet-client-current.pem');
  await mkdir(at('pki'));
  await writeFile(dated, pair.pem, { mode: 0o600 });
  await symlink(dated, link);
  const look = async (user: Readonly<Record<string, unknown>>): Promise<KubeconfigState> => {
    const cluster = {
      server: 'https://10.0.0.1:6443',
      'certificate-authority-data': base64(pair.certificatePem.toString()),
    };
    await writeFile(at('kubelet.conf'), kubeconfigText({ cluster, user }), { mode: 0o640 });
    return inspectKubeconfig(at('kubelet.conf'), link);
  };
  return { directory, link, dated, pair, at, look };
}

function both(path: string): Readonly<Record<string, string>> {
  return { 'client-certificate': path, 'client-key': path };
}

function follows(state: KubeconfigState): boolean {
  assert.equal(state.kind, 'loaded');
  return state.kind === 'loaded' && state.followsPair;
}

describe('inspectKubeconfig()', () => {
  it('recognizes every path that passes through the link', async (context) => {
    const { link, dated, pair, at, look } = await place(context);
    assert.equal(follows(await look(both(link))), true);
    assert.equal(follows(await look(both('pki/kubelet-client-current.pem'))), true);
    await symlink(at('pki'), at('other-pki'));
    assert.equal(follows(await look(both(at('other-pki/kubelet-client-current.pem')))), true);
    await symlink('pki/kubelet-client-current.pem', at('through.pem'));
    assert.equal(follows(await look(both(at('through.pem')))), true);
    // The same file now, but not after the link has moved.
    assert.equal(follows(await look(both(dated))), false);
    assert.equal(follows(await look({ ...both(link), 'client-key': dated })), false);
    const data = base64(pair.pem.toString());
    assert.equal(
      follows(
        await look({ ...both(link), 'client-certificate-data': data, 'client-key-data': data }),
      ),
      false,
    );
    assert.equal(follows(await look({ token: 'abc' })), false);
  });

  it('reads mode, expiry, and tokens', async (context) => {
    const { link, at, look } = await place(context);
    const named = await look(both(link));
    assert.ok(named.kind === 'loaded');
    assert.deepEqual(
      [named.mode, named.certificateExpiry, named.authority?.notAfter, named.user.holdsSecret],
      [0o640, notAfter, notAfter, false],
    );
    const bearer = await look({ token: 'abcdef.0123456789abcdef' });
    assert.ok(bearer.kind === 'loaded');
    assert.deepEqual(bearer.token, { kind: 'bootstrap', id: 'abcdef' });
    assert.equal(bearer.user.holdsSecret, true);
    const payload = Buffer.from('{"exp":1800000000}').toString('base64url');
    await writeFile(at('token'), `eyJ.${payload}.x`);
    const projected = await look({ tokenFile: 'token' });
    assert.ok(projected.kind === 'loaded');
    assert.deepEqual(projected.token, { kind: 'other', expiry: 1_800_000_000_000 });
    assert.doesNotMatch(JSON.stringify([named, bearer, projected]), /0123456789abcdef|PRIVATE/);
  });

  it('recognizes missing, invalid, and incomplete files', async (context) => {
    const { link, dated, at, look } = await place(context);
    const missing = await inspectKubeconfig(at('none.conf'), link);
    assert.deepEqual(missing, { kind: 'missing', path: at('none.conf') });
    await writeFile(at('broken.conf'), 'a: [1');
    assert.equal((await inspectKubeconfig(at('broken.conf'), link)).kind, 'invalid');
    const noToken = await look({ tokenFile: 'nowhere' });
    assert.ok(noToken.kind === 'invalid');
    assert.match(noToken.failure.message, /cannot read the token file .*nowhere/);
    await rename(dated, `${dated}.away`);
    const dangling = await look(both(link));
    assert.ok(dangling.kind === 'invalid');
    assert.match(dangling.failure.message, /kubelet-client-current\.pem, which cannot be read/);
  });
});

async function nodePlace(context: TestContext): Promise<{
  readonly config: AgentConfig;
  /** The kubeconfig that the agent writes. */
  readonly text: string;
  readonly look: () => Promise<KubeconfigState>;
}> {
  const { directory, link } = await place(context);
  const { bootstrapKubeconfig: _, ...config } = agentConfig(directory);
  const cluster = { server: 'https://10.0.0.1:6443', insecureSkipTlsVerify: false };
  return {
    config,
    text: kubeletKubeconfig({ cluster, certificatePath: link }),
    look: () => inspectNodeKubeconfig(config, { pairLink: link, clock: systemClock }),
  };
}

describe('inspectNodeKubeconfig()', () => {
  it('reports another kind of file with the setting to change', async (t) => {
    const { config, look } = await nodePlace(t);
    await writeFile(config.kubeconfig, '{"kind": "Pod", "apiVersion": "v1"}');
    const found = await look();
    assert.ok(found.kind === 'invalid');
    assert.match(found.failure.message, /kubelet\.conf is a Pod \(v1\); nodecertd overwrites only/);
    assert.match(found.failure.remedy ?? '', /^Set kubeconfig \(--kubeconfig\)/);
  });

  it('says if the agent can write a corrupt kubeconfig again', async (t) => {
    const { config, look, text } = await nodePlace(t);
    await writeFile(config.kubeconfig, '');
    const unknown = await look();
    assert.ok(unknown.kind === 'invalid');
    assert.match(unknown.failure.message, /kubelet\.conf is empty$/);
    assert.doesNotMatch(unknown.failure.remedy ?? '', /systemctl start/);
    await mkdir(config.stateDirectory);
    await writeFile(join(config.stateDirectory, 'kubeconfig'), text);
    await writeFile(config.kubeconfig, text.slice(0, 90));
    const known = await look();
    assert.ok(known.kind === 'invalid');
    assert.match(known.failure.message, /is cut off after 90 bytes$/);
    assert.match(known.failure.remedy ?? '', /^Start the agent, .*systemctl start nodecertd$/);
  });
});
