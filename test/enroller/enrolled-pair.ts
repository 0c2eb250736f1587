import { join } from 'node:path';
import type { AgentConfig } from '../../src/core/config.ts';
import { Enroller } from '../../src/enroller/enroller.ts';
import type { Clock } from '../../src/sys/clock.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { clientTemplate } from '../core/fixtures.ts';
import type { Bench } from './fixtures.ts';

/** An enroller whose reports reach the bench. */
export function enrollerOn(
  bench: Bench,
  config: AgentConfig,
  clock: Clock = systemClock,
): Enroller {
  return new Enroller({
    config,
    version: 'test',
    clock,
    random: Math.random,
    interfaces: () => [],
    checkNode: async () => [],
    discover: bench.discover,
    report: bench.report,
  });
}

/** Stores a client certificate of the sandbox and its kubeconfig. @returns the path of the link */
export async function enrolledPair(bench: Bench): Promise<string> {
  const { config } = bench;
  await using enroller = enrollerOn(bench, config);
  enroller.handle({ type: 'enroll', name: 'kubelet-client', id: 1, template: clientTemplate });
  await bench.first('stored');
  bench.reports.length = 0;
  return join(config.certificateDirectory, 'kubelet-client-current.pem');
}
