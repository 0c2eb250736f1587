import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

type Collect = (options: { type: 'major'; execution: 'sync'; flavor: 'last-resort' }) => void;

/**
 * Collects everything that can be collected and gives the pages back. A process
 * that sleeps for months would otherwise keep what its start or a burst of scrapes
 * needed: V8 collects when it allocates, and an idle process does not.
 */
export function releaseMemory(): void {
  collect ??= exposeCollector();
  collect({ type: 'major', execution: 'sync', flavor: 'last-resort' });
}

let collect: Collect | undefined;

/** The collector is a global of contexts made while the flag is up. */
function exposeCollector(): Collect {
  setFlagsFromString('--expose-gc');
  const found = runInNewContext('gc') as Collect;
  setFlagsFromString('--no-expose-gc');
  return found;
}
