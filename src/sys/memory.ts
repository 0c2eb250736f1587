import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

type Collect = (options: { type: 'major'; execution: 'sync'; flavor: 'last-resort' }) => void;

/**
 * Collects all garbage and returns the memory to the system. V8 collects only when it
 * allocates, so an idle process would keep the memory of its start or of many scrapes for
 * months.
 */
export function releaseMemory(): void {
  collect ??= exposeCollector();
  collect({ type: 'major', execution: 'sync', flavor: 'last-resort' });
}

let collect: Collect | undefined;

/** V8 adds the global `gc` to contexts created while the flag is set. */
function exposeCollector(): Collect {
  setFlagsFromString('--expose-gc');
  const found = runInNewContext('gc') as Collect;
  setFlagsFromString('--no-expose-gc');
  return found;
}
