import { HookJournal } from '../keeper/hook-journal.ts';
import { RequestJournal } from '../keeper/request-journal.ts';
import { TrustReissues } from '../keeper/trust-reissues.ts';
import type { LoadedConfig } from '../config/load.ts';
import type { MetricsServer } from '../metrics/server.ts';
import { readState } from '../store/state-file.ts';
import { systemClock } from '../sys/clock.ts';
import type { Logger } from '../sys/log.ts';
import type { ControlSocket } from './control-socket.ts';
import { DirectoryHold } from './directory-hold.ts';
import { Slot } from './slot.ts';
import { StateKeeper } from './state-keeper.ts';

/** The locked certificate directory and the saved state. */
export interface AgentResources {
  readonly hold: Slot<DirectoryHold>;
  readonly state: Slot<StateKeeper>;
  readonly journal: RequestJournal;
  readonly hookJournal: HookJournal;
  readonly reissues: TrustReissues;
}

/** Everything the agent holds, including its listening sockets. */
export interface AgentParts extends AgentResources {
  readonly server: Slot<MetricsServer>;
  readonly control: Slot<ControlSocket>;
}

/** @throws AgentError METRICS_LISTEN */
export type Listen = (config: LoadedConfig['metrics']) => Promise<MetricsServer>;

export type OpenControl = (stateDirectory: string) => Promise<ControlSocket>;

/**
 * Locks the certificate directory and reads the state; the stack releases both.
 * @throws AgentError STORE_LOCKED, STORE_*
 */
export async function acquireResources(
  { certificateDirectory, stateDirectory: directory }: LoadedConfig,
  logger: Logger,
  stack: AsyncDisposableStack,
): Promise<AgentResources> {
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
  const hooks = Object.entries(known.certificates).map(([name, record]) => {
    const { outstanding: _, behindSince: __, ...saved } = record;
    return [name, saved] as const;
  });
  const hookJournal = new HookJournal(Object.fromEntries(hooks), (records) => {
    state.content.setHooks(records);
  });
  const behindSince = Object.entries(known.certificates).flatMap(([name, record]) =>
    record.behindSince === undefined ? [] : [[name, record.behindSince] as const],
  );
  const reissues = new TrustReissues({
    clock,
    logger,
    behindSince: Object.fromEntries(behindSince),
    save: (times) => {
      state.content.setBehind(times);
    },
  });
  return { hold, state, journal, hookJournal, reissues };
}

export interface Exchange {
  readonly from: LoadedConfig;
  readonly to: LoadedConfig;
  readonly logger: Logger;
  readonly listen: Listen;
  readonly openControl: OpenControl;
}

/**
 * Replaces the parts that differ in the new configuration, all or none of them.
 * @returns the replaced parts; the caller disposes them once they are unused
 * @throws AgentError STORE_LOCKED, METRICS_LISTEN, STORE_*; then nothing was replaced
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
  // Fails if the file belongs to another program, because the next write would replace it.
  if (from.stateDirectory !== to.stateDirectory) await readState(to.stateDirectory);
  const server = await exchangeServer(parts.server, { from, to, listen });
  // Nothing below fails.
  const replaced = new AsyncDisposableStack();
  if (server !== undefined) replaced.use(server);
  if (hold !== undefined) replaced.use(parts.hold.exchange(hold));
  if (from.stateDirectory !== to.stateDirectory) {
    const { state } = parts.state.content;
    const directory = to.stateDirectory;
    const next = new StateKeeper({ directory, state, clock, logger });
    replaced.use(parts.state.exchange(next));
    // The service manager's runtime directory does not change, so the old socket must go first.
    await parts.control.exchange(noControl)[Symbol.asyncDispose]();
    parts.control.exchange(await openControl(directory));
  }
  fresh.move();
  return replaced;
}

/** Opens a new port before closing the old one. The same port on another address can be opened only afterwards. */
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

/** Fills the slot between two servers that cannot be open at the same time. */
const closedServer: MetricsServer = {
  address: { host: '127.0.0.1', port: 0 },
  listening: '127.0.0.1:0',
  url: 'http://127.0.0.1:0',
  [Symbol.asyncDispose]: async () => undefined,
};
