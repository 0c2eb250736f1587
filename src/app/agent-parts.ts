import { HookJournal } from '../keeper/hook-journal.ts';
import { RequestJournal } from '../keeper/request-journal.ts';
import type { LoadedConfig } from '../config/load.ts';
import type { MetricsServer } from '../metrics/server.ts';
import { readState } from '../store/state-file.ts';
import { systemClock } from '../sys/clock.ts';
import type { Logger } from '../sys/log.ts';
import type { ControlSocket } from './control-socket.ts';
import { DirectoryHold } from './directory-hold.ts';
import { Slot } from './slot.ts';
import { StateKeeper } from './state-keeper.ts';

/** The directories that an agent works in, by its configuration. */
export interface AgentGround {
  readonly hold: Slot<DirectoryHold>;
  readonly state: Slot<StateKeeper>;
  readonly journal: RequestJournal;
  readonly hookJournal: HookJournal;
}

/** All that it holds of the machine. */
export interface AgentParts extends AgentGround {
  readonly server: Slot<MetricsServer>;
  readonly control: Slot<ControlSocket>;
}

/** @throws AgentError METRICS_LISTEN */
export type Listen = (config: LoadedConfig['metrics']) => Promise<MetricsServer>;

export type OpenControl = (stateDirectory: string) => Promise<ControlSocket>;

/**
 * Takes what the configuration names; it is given back with the stack.
 * @throws AgentError STORE_LOCKED, STORE_*
 */
export async function takeGround(
  { certificateDirectory, stateDirectory: directory }: LoadedConfig,
  logger: Logger,
  stack: AsyncDisposableStack,
): Promise<AgentGround> {
  const clock = systemClock;
  const taken = await DirectoryHold.take({ directory: certificateDirectory, clock, logger });
  const hold = stack.use(new Slot(taken));
  const { state: known, setAside } = await readState(directory);
  if (setAside !== undefined) {
    logger.log('state_unreadable', { path: setAside.path, error: setAside.reason });
  }
  const keeper = new StateKeeper({ directory, state: known, clock, logger });
  const state = stack.use(new Slot(keeper));
  const outstanding = Object.entries(known.certificates).map(
    ([name, record]) => [name, record.outstanding] as const,
  );
  const journal = new RequestJournal(Object.fromEntries(outstanding), (requests) => {
    state.content.setOutstanding(requests);
  });
  const hooks = Object.entries(known.certificates).map(([name, { hooksOwed, rolledBack }]) => {
    const owed = hooksOwed !== undefined && { owed: hooksOwed };
    return [name, { ...owed, ...(rolledBack !== undefined && { wentBack: rolledBack }) }] as const;
  });
  const hookJournal = new HookJournal(Object.fromEntries(hooks), (records) => {
    state.content.setHooks(records);
  });
  return { hold, state, journal, hookJournal };
}

export interface Exchange {
  readonly from: LoadedConfig;
  readonly to: LoadedConfig;
  readonly logger: Logger;
  readonly listen: Listen;
  readonly openControl: OpenControl;
}

/**
 * Puts those in place that another configuration names, all or none of them.
 * @returns what was replaced, to be disposed of when nobody works with it any more
 * @throws AgentError STORE_LOCKED, METRICS_LISTEN, STORE_*; everything is as it was then
 */
export async function exchangeParts(
  parts: AgentParts,
  { from, to, logger, listen, openControl }: Exchange,
): Promise<AsyncDisposableStack> {
  await using fresh = new AsyncDisposableStack();
  const clock = systemClock;
  const hold =
    from.certificateDirectory === to.certificateDirectory
      ? undefined
      : fresh.use(await DirectoryHold.take({ directory: to.certificateDirectory, clock, logger }));
  const server = await exchangeServer(parts.server, { from, to, listen });
  // From here on nothing fails.
  const replaced = new AsyncDisposableStack();
  if (server !== undefined) replaced.use(server);
  if (hold !== undefined) replaced.use(parts.hold.exchange(hold));
  if (from.stateDirectory !== to.stateDirectory) {
    const { state } = parts.state.content;
    const directory = to.stateDirectory;
    const next = new StateKeeper({ directory, state, clock, logger });
    replaced.use(parts.state.exchange(next));
    // Where the service manager has made a directory for it, it is the same one.
    await parts.control.exchange(noControl)[Symbol.asyncDispose]();
    parts.control.exchange(await openControl(directory));
  }
  fresh.move();
  return replaced;
}

/** Another port is opened before the old one is closed; the same one on another address can only be after. */
async function exchangeServer(
  slot: Slot<MetricsServer>,
  { from, to, listen }: Pick<Exchange, 'from' | 'to' | 'listen'>,
): Promise<MetricsServer | undefined> {
  const { host, port } = to.metrics;
  if (from.metrics.host === host && from.metrics.port === port) return undefined;
  if (from.metrics.port !== port || port === 0) return slot.exchange(await listen(to.metrics));
  await slot.exchange(closedServer)[Symbol.asyncDispose]();
  try {
    slot.exchange(await listen(to.metrics));
    return undefined;
  } catch (error) {
    slot.exchange(await listen(from.metrics));
    throw error;
  }
}

const noControl: ControlSocket = { [Symbol.asyncDispose]: async () => undefined };

/** For the moment between two that cannot be open together. */
const closedServer: MetricsServer = {
  address: { host: '127.0.0.1', port: 0 },
  url: 'http://127.0.0.1:0',
  [Symbol.asyncDispose]: async () => undefined,
};
