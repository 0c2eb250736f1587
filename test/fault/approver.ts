import { ApproverPlane } from '../support/approver-plane.ts';
import { startApproverProxy } from '../support/approver-proxy.ts';
import { approverFaults } from './approver/faults.ts';
import type { ApproverBench } from './approver/trial.ts';
import { tryApprover } from './approver/trial.ts';
import type { FaultFamily } from './family.ts';

/**
 * Faults between an approver and the real API server. After each one, every CSR is decided
 * exactly once and none wrongly; the audit log of the API server counts.
 */
export const approver: FaultFamily = {
  name: 'approver',
  needs: ['control-plane'],
  async *run(options) {
    const { thorough, signal, progress } = options;
    await using bench = await openBench();
    for (const [number, fault] of approverFaults.entries()) {
      if (!thorough && !quick.has(fault.name)) continue;
      signal.throwIfAborted();
      progress(fault.name);
      const name = `fault-${number}`;
      const { csrs, recovery, seen } = await tryApprover(bench, { fault, name }, options);
      yield { fault: fault.name, tried: csrs, lost: 0, recovery, seen };
    }
  },
};

/** One of each kind. */
const quick: ReadonlySet<string> = new Set([
  'connection reset in the middle of a list',
  'connection reset in the middle of a watch',
  'answer lost after the decision was stored',
  '429 with Retry-After',
  '503 for every request',
  '410 as an event of a watch',
  'watch that sends the first state of a CSR again after its decision',
  'watch of Nodes that fails while an address moves to another node',
]);

async function openBench(): Promise<ApproverBench & AsyncDisposable> {
  await using stack = new AsyncDisposableStack();
  const cluster = stack.use(await ApproverPlane.start());
  const proxied = await startApproverProxy(cluster);
  stack.use(proxied.proxy);
  const held = stack.move();
  return { cluster, proxied, [Symbol.asyncDispose]: () => held.disposeAsync() };
}
