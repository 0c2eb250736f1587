import type { Command } from 'commander';
import { Option } from 'commander';
import { AgentError, hasCode } from '../core/errors.ts';
import { second } from '../core/instant.ts';
import type { Gate, GateId } from '../trust/cluster/gate.ts';
import { areOpen, gatesBefore } from '../trust/cluster/gate.ts';
import type { RolloverOptions } from './ca-rollover-options.ts';
import { accessOf, addRolloverOptions, questionOf } from './ca-rollover-options.ts';
import type { ShownRollover } from './ca-rollover-report.ts';
import { rolloverDocument, rolloverTable } from './ca-rollover-report.ts';
import { viewGates } from './ca-rollover-view.ts';
import type { CliContext } from './context.ts';
import type { ExitCode, ExitCodeMeanings } from './exit-code.ts';
import { exitCodes as codes } from './exit-code.ts';
import type { OutputFormat } from './print.ts';
import { outputOption, print } from './print.ts';
import { oneLine } from './text.ts';
import { parseTimeout } from './timeout-option.ts';

/** The goals of `--for`, with the gates that have to be open. */
export const goals = {
  union: gatesBefore.switch,
  signer: ['G5'],
  serving: ['G6'],
  reissued: ['G5', 'G6', 'G7'],
  droppable: gatesBefore.finish,
} as const satisfies Readonly<Record<string, readonly GateId[]>>;

type Goal = keyof typeof goals;

interface WaitOptions extends RolloverOptions {
  readonly for: Goal;
  readonly timeout: number;
  readonly output: OutputFormat;
}

export const exitCodes: ExitCodeMeanings = {
  0: 'the gates are open',
  1: 'the command itself failed',
  2: 'wrong usage',
  3: 'the gates were not open in time',
  4: 'something has failed for 40s, or fails as soon as a connection is cut',
};

const intervalMs = 10 * second;

/** A restart of the leading kube-controller-manager stops signing and publishing for up to 20s. */
const graceMs = 40 * second;

/** `nodecertd ca-rollover wait`: returns when a step is safe. Changes nothing. */
export function configure(
  command: Command,
  context: CliContext,
  exit: (code: number) => void,
): void {
  addRolloverOptions(command)
    .addOption(
      new Option('--for <goal>', 'what to wait for')
        .choices(Object.keys(goals))
        .makeOptionMandatory(),
    )
    .addOption(
      new Option('--timeout <duration>', 'longest wait')
        .argParser(parseTimeout)
        .default(parseTimeout('1h'), '1h'),
    )
    .addOption(outputOption())
    .action(async (options: WaitOptions) => {
      const { view, code } = await waitFor(goals[options.for], {
        // Reads the kubeconfig again, because it may get another certificate meanwhile.
        view: async () => {
          using access = await accessOf(options);
          return await viewGates(questionOf(options, { access, context }));
        },
        context,
        timeoutMs: options.timeout * second,
      });
      const text = await print(options.output, rolloverDocument(view), () => rolloverTable(view));
      context.stdout.write(text);
      exit(code);
    });
}

interface Wait {
  readonly view: () => Promise<ShownRollover>;
  readonly context: Pick<CliContext, 'clock' | 'stderr'>;
  readonly timeoutMs: number;
}

/** The API servers spend at most a tenth of their time on the answers. */
const restFactor = 10;

/**
 * Reads the cluster until the gates are open, the timeout ends, or something fails. Continues after
 * an attempt that failed, unless waiting cannot cure the failure.
 * @throws AgentError the last one when the timeout ends
 */
export async function waitFor(
  ids: readonly GateId[],
  { view, context: { clock, stderr }, timeoutMs }: Wait,
): Promise<{ readonly view: ShownRollover; readonly code: ExitCode }> {
  const start = clock.elapsed();
  const harm = new Harm();
  let [said, hasAnswered] = ['', false];
  for (;;) {
    const began = clock.elapsed();
    const found = await attempt(view, hasAnswered);
    hasAnswered ||= !(found instanceof AgentError);
    const now = clock.elapsed();
    const isOver = now - start >= timeoutMs;
    if (found instanceof AgentError) {
      if (isOver) throw found;
    } else {
      if (areOpen(found.gates, ids)) return { view: found, code: codes.fine };
      if (harm.lasts(found.gates, now)) return { view: found, code: codes.expired };
      if (isOver) return { view: found, code: codes.expiring };
    }
    const line = waitingLine(found, ids);
    if (line !== said) stderr.write(`${line}\n`);
    said = line;
    const rest = Math.max(intervalMs, restFactor * (now - began));
    const left = Math.max(0, start + timeoutMs - now);
    await clock.sleep(Math.min(rest, left), new AbortController().signal);
  }
}

/** Failures of the API server that pass. */
const passing = [
  'API_UNREACHABLE',
  'API_TIMEOUT',
  'API_THROTTLED',
  'API_SERVER_ERROR',
  'API_BAD_RESPONSE',
  'API_GONE',
] as const;

/**
 * At the first attempt, other failures end the command, because the administrator is still there. A
 * credential or a file that has worked may only be missing while a step replaces it. Waiting cannot
 * make CAs unambiguous, or support a cluster.
 */
async function attempt(
  view: Wait['view'],
  hasAnswered: boolean,
): Promise<ShownRollover | AgentError> {
  try {
    return await view();
  } catch (error) {
    if (hasCode(error, ...passing)) return error;
    if (hasAnswered && error instanceof AgentError && error.code !== 'USAGE') return error;
    throw error;
  }
}

/** How long a gate has been harmful without a break. */
class Harm {
  #from: number | undefined;

  lasts(gates: readonly Gate[], now: number): boolean {
    const isHarmful = gates.some(({ state }) => state === 'harmful');
    this.#from = isHarmful ? (this.#from ?? now) : undefined;
    return this.#from !== undefined && now - this.#from >= graceMs;
  }
}

/** The first reason of each gate that is not open, or that is harmful and ends the wait. */
function waitingLine(found: ShownRollover | AgentError, ids: readonly GateId[]): string {
  if (found instanceof AgentError) return oneLine(failureLine(found));
  if (found.gates.length === 0) return 'waiting for a second CA in the cluster';
  const closed = found.gates.filter(
    ({ id, state }) => state === 'harmful' || (ids.includes(id) && state !== 'open'),
  );
  const texts = closed.map(({ id, reasons }) => `${id}: ${reasons[0]?.message}`);
  return oneLine(`waiting for ${texts.join('; ')}`);
}

function failureLine({ code, message, remedy }: AgentError): string {
  if (passing.some((one) => one === code)) return `waiting for the API server: ${message}`;
  const advice = remedy === undefined ? '' : ` (${remedy})`;
  return `nodecertd cannot read the cluster, and tries again: ${message}${advice}`;
}
