import { inspect } from 'node:util';
import { removeDeadClusters } from '../support/cluster-directory.ts';
import { isInOwnNetwork, runInOwnNetwork } from './network.ts';
import type { Scenario } from './scenario.ts';
import { scenarios } from './scenarios.ts';

/**
 * `make rollover` runs all scenarios, or those that are named, one after the other. It continues
 * after a failed one.
 */
const names = process.argv.slice(2);
const unknown = names.filter((name) => scenarios.every((scenario) => scenario.name !== name));
if (unknown.length > 0) {
  const known = scenarios.map(({ name }) => name).join(', ');
  throw new Error(`no scenarios are called ${unknown.join(', ')}; there are ${known}`);
}
if (isInOwnNetwork) {
  const chosen = scenarios.filter(({ name }) => names.length === 0 || names.includes(name));
  for (const scenario of chosen) await tryScenario(scenario);
  // A failed scenario may leave a wait behind.
  process.exit();
} else {
  removeDeadClusters();
  process.exitCode = await runInOwnNetwork(import.meta.filename, names);
}

async function tryScenario(scenario: Scenario): Promise<void> {
  const started = performance.now();
  const say = (line: string): void => {
    const seconds = ((performance.now() - started) / 1_000).toFixed(1);
    process.stdout.write(`${seconds.padStart(7)} s  ${line}\n`);
  };
  process.stdout.write(`== ${scenario.name}\n`);
  try {
    await scenario.run(say);
    say('done');
  } catch (error) {
    say(`FAILED ${inspect(error, { depth: 8 })}`);
    process.exitCode = 1;
  }
}
