import assert from 'node:assert/strict';
import { once } from 'node:events';
import { describe, it } from 'node:test';
import { Worker } from 'node:worker_threads';
import { client, TestNode } from '../support/agent.ts';
import { scaled } from '../support/machine-speed.ts';
import { startSandboxControlPlane } from '../support/sandbox-control-plane.ts';
import type { ReaderReport } from './reader.worker.ts';

const wanted = 20;
const servers = ['kubelet-server', 'proxy', 'exporter'];

void describe('-current.pem', () => {
  it(`is whole at every read of a tight loop, through ${wanted} rotations`, async (context) => {
    await using controlPlane = await startSandboxControlPlane({
      signingSeconds: scaled(15),
      approvingServing: true,
    });
    await using node = await TestNode.create(controlPlane, 'reader', {
      certificates: [
        client,
        ...servers.map((name) => ({
          name,
          profile: 'kubelet-serving',
          addresses: { from: 'static', dnsNames: ['reader'], ipAddresses: ['127.0.0.1'] },
        })),
      ],
    });
    const agent = node.start();
    const names = [client.name, ...servers];
    for (const name of names) await agent.event('certificate_stored', name);

    await using reader = startReader(names.map((name) => node.current(name)));
    // The first pair of each certificate is not a rotation.
    await agent.event('certificate_stored', undefined, names.length + wanted);
    const { reads, serials, faults } = await reader.report();

    assert.deepEqual(faults, []);
    const seen = Object.values(serials).map((list) => list.length - 1);
    const rotations = seen.reduce((sum, count) => sum + count, 0);
    assert.ok(rotations >= wanted - 1, `the reader saw ${rotations} rotations`);
    context.diagnostic(`${reads} reads over ${rotations} rotations, none of them bad`);
  });
});

interface Reader extends AsyncDisposable {
  report(): Promise<ReaderReport>;
}

function startReader(files: readonly string[]): Reader {
  const stop = new Int32Array(new SharedArrayBuffer(4));
  const worker = new Worker(new URL('./reader.worker.ts', import.meta.url), {
    workerData: { files, stop },
  });
  return {
    report: async () => {
      Atomics.store(stop, 0, 1);
      const [report] = (await once(worker, 'message')) as [ReaderReport];
      return report;
    },
    [Symbol.asyncDispose]: async () => {
      await worker.terminate();
    },
  };
}
