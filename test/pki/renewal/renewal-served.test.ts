import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { readFileSync } from 'node:fs';
import type { AddressInfo, Socket } from 'node:net';
import { createServer } from 'node:net';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { describe, it } from 'node:test';
import { TLSSocket } from 'node:tls';
import { second } from '../../../src/core/instant.ts';
import { renew } from '../../../src/pki/renewal/renewal.ts';
import type { RenewalResult } from '../../../src/pki/renewal/renewal-run.ts';
import type { ServedEndpoint } from '../../../src/pki/inventory/served.ts';
import { systemClock } from '../../../src/sys/clock.ts';
import { modificationTimes, snapshot } from '../../adopt/snapshot.ts';
import type { KubeadmTree } from './renewal-tree.ts';
import { copyOf, optionsFor, sharedTree, requestFor } from './renewal-tree.ts';

const model = sharedTree();

interface Pair {
  readonly cert: Buffer;
  readonly key: Buffer;
}

/** A server that chooses its pair, or none, for each connection. */
async function serve(
  context: TestContext,
  tree: KubeadmTree,
  choose: (inFile: () => Pair) => Pair | undefined,
): Promise<ServedEndpoint> {
  const [certificateFile, keyFile] = ['crt', 'key'].map((ending) =>
    join(tree.certificates, `etcd/server.${ending}`),
  );
  assert.ok(certificateFile !== undefined && keyFile !== undefined);
  const inFile = (): Pair => ({ cert: readFileSync(certificateFile), key: readFileSync(keyFile) });
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    const pair = choose(inFile);
    if (pair === undefined) return socket.destroy();
    return new TLSSocket(socket, { isServer: true, ...pair }).on('error', () => socket.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  context.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { component: 'etcd', name: 'etcd-server', host: '127.0.0.1', port, certificateFile };
}

/** Renews the certificate of etcd on a clock on which each check takes 20 seconds. */
async function renewServed(tree: KubeadmTree, endpoint: ServedEndpoint): Promise<RenewalResult> {
  let elapsed = 0;
  const clock = { ...systemClock, elapsed: () => (elapsed += 20 * second) };
  const options = optionsFor({ selection: ['etcd-server'] });
  const { result } = await renew(
    { ...requestFor(tree), clock },
    { ...options, describe: () => ({}), endpoints: [endpoint] },
  );
  return result;
}

describe('renew() with endpoints', () => {
  it('waits until the new certificate is served', async (context) => {
    const tree = await copyOf(context, model);
    let old: Pair | undefined;
    let late = 3;
    const endpoint = await serve(context, tree, (inFile) => {
      old ??= inFile();
      // The first check is before the renewal.
      return (late -= 1) > 0 ? old : inFile();
    });
    const { renewed } = await renewServed(tree, endpoint);
    assert.deepEqual(renewed[0]?.served, { kind: 'current', endpoints: ['etcd-server'] });
    assert.ok(late <= 0);
  });

  it('reports an endpoint that keeps the previous certificate', async (context) => {
    const tree = await copyOf(context, model);
    const previous: Pair = {
      cert: await readFile(join(tree.certificates, 'etcd/server.crt')),
      key: await readFile(join(tree.certificates, 'etcd/server.key')),
    };
    const { renewed, failed } = await renewServed(tree, await serve(context, tree, () => previous));
    assert.equal(failed, undefined);
    const [done] = renewed;
    assert.ok(done?.served?.kind === 'unverified');
    assert.match(done.served.reason, /^serves serial [0-9a-f]+, but .* has had serial /);
  });

  it('restores the files if an endpoint that worked is broken', async (context) => {
    const tree = await copyOf(context, model);
    const before = await snapshot(tree.kubernetes, '/.nodecertd');
    const times = await modificationTimes(tree.kubernetes, '/.nodecertd');
    let looks = 0;
    const endpoint = await serve(context, tree, (inFile) =>
      (looks += 1) === 1 ? inFile() : undefined,
    );
    const { renewed, failed } = await renewServed(tree, endpoint);
    assert.deepEqual(renewed, []);
    assert.equal(failed?.failure.code, 'SERVED_STALE');
    assert.match(
      failed.failure.message,
      /worked before the renewal.*previous files of etcd-server/,
    );
    assert.deepEqual(await snapshot(tree.kubernetes, '/.nodecertd'), before);
    assert.deepEqual(await modificationTimes(tree.kubernetes, '/.nodecertd'), times);
  });

  it('does not wait for an endpoint that was down before', async (context) => {
    const tree = await copyOf(context, model);
    let looks = 0;
    const endpoint = await serve(context, tree, () => {
      looks += 1;
      return undefined;
    });
    const { renewed } = await renewServed(tree, endpoint);
    assert.equal(renewed[0]?.served?.kind, 'unverified');
    assert.equal(looks, 2);
  });
});
