import { join } from 'node:path';
import { clockFaults, quickClockFaults } from './clock/scenarios.ts';
import type { ClockFault } from './clock/scenarios.ts';
import { ClockStage } from './clock/stage.ts';
import type { FaultFamily, FaultOptions, FaultRow } from './family.ts';

/** Most of the time, a scenario waits for the agent's next tick, which comes once a minute. */
const together = 5;

const day = 86_400;

/**
 * Clocks that jump, go back or were never set, and stopped processes, on a node with
 * its own clock.
 */
export const clock: FaultFamily = {
  name: 'clock',
  needs: ['libfaketime'],
  async *run(options) {
    const faults = [...(options.thorough ? clockFaults : quickClockFaults).entries()];
    const rows: FaultRow[] = [];
    const queue = [...faults];
    const failures: unknown[] = [];
    const work = async (): Promise<void> => {
      for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
        options.signal.throwIfAborted();
        const [index, fault] = next;
        try {
          rows[index] = await play(fault, { index, options });
        } catch (error) {
          failures.push(error);
        }
      }
    };
    await Promise.all(Array.from({ length: together }, work));
    yield* rows.filter(Boolean);
    if (failures.length > 0) throw new AggregateError(failures, failures.map(String).join('\n\n'));
  },
};

async function play(
  { fault, signingSeconds = day, requests, play }: ClockFault,
  { index, options }: { readonly index: number; readonly options: FaultOptions },
): Promise<FaultRow> {
  const released = { command: join(import.meta.dirname, '../../dist/nodecertd') };
  await using stage = await ClockStage.open({
    name: `clock-${index}`,
    signingSeconds,
    unhurried: options.thorough,
    start: options.thorough ? released : {},
  });
  try {
    options.progress(fault);
    await play(stage);
    return await stage.row(fault, requests);
  } catch (error) {
    throw new Error(`${fault}: ${String(error)}\n${stage.story()}`, { cause: error });
  }
}
