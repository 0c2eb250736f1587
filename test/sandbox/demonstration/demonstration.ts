import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stringify } from 'yaml';
import type { HostPort } from '../../../src/core/host-port.ts';
import { hasCode } from '../../../src/core/errors.ts';
import { second } from '../../../src/core/instant.ts';
import type { AgentStatus } from '../../../src/core/status.ts';
import { addressFromState, fetchStatus } from '../../../src/cli/agent-status.ts';
import type { AgentProcess } from './agent-process.ts';
import { agentCommand, startAgentProcess } from './agent-process.ts';
import { changeLines } from './change-lines.ts';
import type { CliContext } from '../../../src/cli/context.ts';
import { canDrawLive, wantsColor } from '../../../src/cli/terminal.ts';
import { guide } from './guide.ts';
import { LiveScreen } from './live-screen.ts';
import { renderLiveTable } from './live-table.ts';
import type { SandboxSession } from './session.ts';

export type SandboxContext = Pick<CliContext, 'stdout' | 'stderr' | 'clock' | 'environment'>;

export interface DemonstrationOptions {
  readonly session: SandboxSession;
  readonly context: SandboxContext;
  readonly signal: AbortSignal;
  /** Ends after this number of rotations of each certificate. */
  readonly rotations: number | undefined;
}

const nodeName = 'sandbox-node';
/** Often enough for a moving bar, and cheap enough. */
const interval = second / 4;

/**
 * Runs a real agent against the sandbox in its own process and shows its /status.
 * Returns true if it ended as it should.
 */
export async function runDemonstration(options: DemonstrationOptions): Promise<boolean> {
  const { session, context } = options;
  const file = await prepare(session);
  await using agent = startAgentProcess(file, join(session.directory, 'agent.log'));
  const address = await findAddress(agent, options);
  if (address === undefined) return options.signal.aborted;
  const { directory, kept } = session;
  using view = createView(context, guide({ directory, kept, address, agentCommand }));
  for (;;) {
    const status = await fetchStatus(address).catch(() => undefined);
    if (status !== undefined) {
      view.show(status);
      if (isDone(status, options.rotations)) {
        view[Symbol.dispose]();
        context.stdout.write(`Done: each certificate was rotated ${times(options.rotations)}.\n`);
        return true;
      }
    }
    if (agent.exited) return await fail(agent, context);
    if (!(await paused(options))) return true;
  }
}

/** Creates a Node with an address, and a configuration with all files in the session's folder. */
async function prepare(session: SandboxSession): Promise<string> {
  const { directory } = session;
  await session.sandbox.setNodeAddresses(nodeName, [
    { type: 'InternalIP', address: '127.0.0.1' },
    { type: 'Hostname', address: nodeName },
  ]);
  const file = join(directory, 'config.yaml');
  const configuration = {
    apiVersion: 'nodecertd.io/v1alpha1',
    kind: 'AgentConfiguration',
    nodeName,
    kubeconfig: join(directory, 'kubelet.conf'),
    bootstrapKubeconfig: session.bootstrapKubeconfig,
    certificateDirectory: join(directory, 'pki'),
    stateDirectory: join(directory, 'state'),
    // Some systems have /tmp in memory.
    store: { acceptVolatileDirectory: true },
    metrics: { address: '127.0.0.1:0' },
    log: { format: 'text', level: 'debug' },
  };
  await writeFile(file, stringify(configuration));
  return file;
}

/** The agent writes its metrics address to its state file as soon as it listens. */
async function findAddress(
  agent: AgentProcess,
  options: DemonstrationOptions,
): Promise<HostPort | undefined> {
  for (;;) {
    const address = await addressFromState(join(options.session.directory, 'state'));
    if (address !== undefined) return address;
    if (agent.exited) {
      await fail(agent, options.context);
      return undefined;
    }
    if (!(await paused(options))) return undefined;
  }
}

/** Returns false when it is time to stop. */
async function paused({ context, signal }: DemonstrationOptions): Promise<boolean> {
  try {
    await context.clock.sleep(interval, signal);
    return true;
  } catch (error) {
    if (hasCode(error, 'ABORTED')) return false;
    throw error;
  }
}

/** The first pair of a certificate is not a rotation. */
function isDone(status: AgentStatus, rotations: number | undefined): boolean {
  if (rotations === undefined) return false;
  return status.certificates.every((certificate) => certificate.rotations > rotations);
}

function times(count: number | undefined): string {
  return count === 1 ? 'once' : `${count} times`;
}

async function fail(agent: AgentProcess, { stderr }: SandboxContext): Promise<false> {
  stderr.write(`nodecertd: the agent ended: ${agent.exited}\n${await agent.lastLines()}\n`);
  return false;
}

interface View extends Disposable {
  show(status: AgentStatus): void;
}

function createView({ stdout }: SandboxContext, introduction: readonly string[]): View {
  if (stdout === process.stdout && canDrawLive(process.stdout, process.env)) {
    return liveView(introduction);
  }
  let last: AgentStatus | undefined;
  stdout.write(`${introduction.join('\n')}\n`);
  return {
    show: (status) => {
      for (const line of changeLines(last, status)) stdout.write(`${line}\n`);
      last = status;
    },
    [Symbol.dispose]: () => undefined,
  };
}

function liveView(introduction: readonly string[]): View {
  const screen = new LiveScreen(process.stdout);
  const color = wantsColor(process.env);
  let last: AgentStatus | undefined;
  const table = (columns: number): string[] =>
    last === undefined ? [] : renderLiveTable(last, { columns, color });
  return {
    show: (status) => {
      last = status;
      screen.draw((columns) => [...introduction, ...table(columns)]);
    },
    [Symbol.dispose]: () => {
      // The last picture must not contain hints to files that no longer exist.
      if (last !== undefined) screen.draw(table);
      screen.close();
    },
  };
}
