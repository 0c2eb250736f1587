import { performance } from 'node:perf_hooks';
import { TestNode } from './agent.ts';
import type { ControlPlane } from './control-plane.ts';
import { startSandboxControlPlane } from './sandbox-control-plane.ts';

/** As many agents start at once here as in the end-to-end tests. */
const agents = 4;

/** What that takes on the two idle cores for which the times in tests are written, in milliseconds. */
const reference = 2_000;

export interface Slowness {
  /** At least 1. */
  readonly factor: number;
  /** Milliseconds from the start of the agents to the last first certificate. */
  readonly start: number;
}

/** Measures how much slower this machine is now than the one for which the tests are written. */
export async function measureSlowness(): Promise<Slowness> {
  await using stack = new AsyncDisposableStack();
  const controlPlane = stack.use(await startSandboxControlPlane({ signingSeconds: 3_600 }));
  await fillCompileCache(controlPlane);
  const names = Array.from({ length: agents }, (_, index) => `measured-${index}`);
  const nodes = await Promise.all(names.map((name) => TestNode.create(controlPlane, name)));
  for (const node of nodes) stack.use(node);
  const began = performance.now();
  await Promise.all(nodes.map((node) => node.start().event('certificate_stored')));
  const start = performance.now() - began;
  return { factor: Math.max(1, start / reference), start };
}

/** Node writes its compile cache when a process exits. */
async function fillCompileCache(controlPlane: ControlPlane): Promise<void> {
  await using node = await TestNode.create(controlPlane, 'first');
  const agent = node.start();
  await agent.event('certificate_stored');
  await agent.stop();
}
