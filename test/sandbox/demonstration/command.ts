import { once } from 'node:events';
import type { Command } from 'commander';
import { InvalidArgumentError, Option } from 'commander';
import { parseDuration } from '../../../src/config/duration.ts';
import { exitCodes } from '../../../src/cli/exit-code.ts';
import { agentCommand } from './agent-process.ts';
import type { SandboxContext } from './demonstration.ts';
import { runDemonstration } from './demonstration.ts';
import type { SandboxSession } from './session.ts';
import { openSession } from './session.ts';

interface SandboxOptions {
  readonly agent?: boolean;
  readonly rotations?: number;
  readonly lifetime: number;
  readonly port: number;
  readonly directory?: string;
}

/** Runs a sandbox until Ctrl-C. */
export function configure(
  command: Command,
  context: SandboxContext,
  exit: (code: number) => void,
): void {
  command
    .option('--agent', 'run an agent on the sandbox and show its certificates')
    .option(
      '--rotations <count>',
      'with --agent: end after this number of rotations of each certificate',
      count,
    )
    .addOption(
      new Option('--lifetime <duration>', 'lifetime of issued certificates')
        .argParser(lifetime)
        .default(60, '60s'),
    )
    .option('--port <port>', 'port of the API; 0 selects a free port', port, 0)
    .option('--directory <folder>', 'keep the files in this folder instead of a temporary one')
    .action(async (options: SandboxOptions) => {
      const stop = stopOnSignals();
      await using session = await openSession({
        lifetimeSeconds: options.lifetime,
        port: options.port,
        ...(options.directory !== undefined && { directory: options.directory }),
      });
      const { rotations } = options;
      const finished =
        options.agent === true || rotations !== undefined
          ? await runDemonstration({ session, context, signal: stop, rotations })
          : await serve(session, context, stop);
      exit(finished ? exitCodes.fine : exitCodes.error);
    });
}

/** Prints the addresses and files for other programs, and waits. */
async function serve(
  session: SandboxSession,
  { stdout, environment }: SandboxContext,
  stop: AbortSignal,
): Promise<boolean> {
  const nodeName = environment.hostName.toLowerCase();
  await session.sandbox.setNodeAddresses(nodeName, [
    { type: 'InternalIP', address: '127.0.0.1' },
    { type: 'Hostname', address: nodeName },
  ]);
  const { directory } = session;
  stdout.write(`A certificates API is running at ${session.server}
  bootstrap kubeconfig  ${session.bootstrapKubeconfig}
  admin kubeconfig      ${session.adminKubeconfig}
  Node object           ${nodeName} (127.0.0.1)

Every certificate that a node requests is approved at once, serving certificates included.
Try in another terminal:
  ${agentCommand} run --bootstrap-kubeconfig ${session.bootstrapKubeconfig} \\
    --kubeconfig ${directory}/kubelet.conf --cert-dir ${directory}/pki \\
    --state-dir ${directory}/state --metrics-address 127.0.0.1:0 --log-format text
${session.kept ? 'Ctrl-C stops it and keeps the directory.' : 'Ctrl-C stops it and removes everything.'}
`);
  if (!stop.aborted) await once(stop, 'abort');
  return true;
}

/** The first signal stops cleanly, and a second one exits at once. */
function stopOnSignals(): AbortSignal {
  const stop = new AbortController();
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(name, () => {
      if (stop.signal.aborted) process.exit(exitCodes.error);
      stop.abort();
    });
  }
  return stop.signal;
}

function count(text: string): number {
  if (!/^[1-9]\d{0,5}$/.test(text))
    throw new InvalidArgumentError('Expected a number of at least 1.');
  return Number(text);
}

function port(text: string): number {
  if (!/^\d{1,5}$/.test(text) || Number(text) > 65_535) {
    throw new InvalidArgumentError('Expected a number from 0 to 65535.');
  }
  return Number(text);
}

/** The agent's minimum delay between two rotations rules out shorter lifetimes. */
function lifetime(text: string): number {
  const seconds = parseDuration(text);
  if (seconds === undefined || seconds < 15) {
    throw new InvalidArgumentError('Expected a duration of at least 15s, such as 60s or 1h30m.');
  }
  return seconds;
}
