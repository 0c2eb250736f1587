import { writeFile } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { pinOf, TestCluster, tokenText } from '../discovery/support/test-cluster.ts';
import { sendJson, sendStatus } from '../kube/support/api-server.ts';
import { temporaryDirectory } from '../store/pairs.ts';
import type { Ended } from '../support/doctor.ts';
import { runInProcess } from './in-process.ts';

export type NodeState = 'absent' | 'ready' | 'not-ready' | 'forbidden';

/** A cluster to discover, and a directory for the files. */
export interface DiscoverBench {
  readonly cluster: TestCluster;
  readonly directory: string;
  /** The default --output. */
  readonly output: string;
  readonly tokenFile: string;
  readonly pin: string;
  readonly address: string;
  /** The state of every Node. */
  node: NodeState;
  /** `nodecertd discover` with --output, in this process. */
  readonly discover: (...args: readonly string[]) => Promise<Ended>;
  /** The same with the arguments that lead to this cluster. */
  readonly succeed: (...args: readonly string[]) => Promise<Ended>;
}

export async function discoverBench(t: TestContext): Promise<DiscoverBench> {
  const cluster = await TestCluster.start();
  t.after(() => cluster[Symbol.asyncDispose]());
  const directory = await temporaryDirectory(t);
  const tokenFile = join(directory, 'token');
  await writeFile(tokenFile, `${tokenText}\n`, { mode: 0o600 });
  const output = join(directory, 'bootstrap.conf');
  const pin = pinOf(cluster.authority.pem);
  const address = `127.0.0.1:${cluster.api.port}`;
  const discover = (...args: readonly string[]): Promise<Ended> =>
    runInProcess(Date.now(), 'discover', '--output', output, ...args);
  const bench: DiscoverBench = {
    cluster,
    directory,
    output,
    tokenFile,
    pin,
    address,
    node: 'absent',
    discover,
    succeed: (...args) =>
      discover('--endpoint', address, '--token-file', tokenFile, '--ca-cert-hash', pin, ...args),
  };
  const { handler } = cluster.api;
  cluster.api.handler = (request, response) => {
    const name = /^\/api\/v1\/nodes\/(.+)$/.exec(request.url ?? '')?.[1];
    if (name === undefined) handler(request, response);
    else sendNode(response, name, bench.node);
  };
  return bench;
}

function sendNode(response: ServerResponse, name: string, state: NodeState): void {
  if (state === 'absent') {
    sendStatus(response, 404, { reason: 'NotFound', details: { name, kind: 'nodes' } });
  } else if (state === 'forbidden') {
    const message = `nodes "${name}" is forbidden: User "system:bootstrap:abcdef" cannot get resource "nodes"`;
    sendStatus(response, 403, { reason: 'Forbidden', message });
  } else {
    const status = state === 'ready' ? 'True' : 'False';
    sendJson(response, { metadata: { name }, status: { conditions: [{ type: 'Ready', status }] } });
  }
}
