import type { Command } from 'commander';
import { Option } from 'commander';
import { second } from '../core/instant.ts';
import type { Gate, GateId } from '../trust/cluster/gate.ts';
import type { RolloverView } from '../trust/cluster/rollover.ts';
import { viewRollover } from '../trust/cluster/rollover.ts';
import type { RolloverOptions } from './ca-rollover-options.ts';
import { accessOf, addRolloverOptions, questionOf } from './ca-rollover-options.ts';
import { areOpen, gatesBefore, rolloverDocument, rolloverTable } from './ca-rollover-report.ts';
import type { CliContext } from './context.ts';
import type { ExitCode, ExitCodeMeanings } from './exit-code.ts';
import { exitCodes as codes } from './exit-code.ts';
import type { OutputFormat } from './print.ts';
import { outputOption, print } from './print.ts';
import { oneLine } from './text.ts';
import { parseTimeout } from './timeout-option.ts';

/** What to wait for, and the gates that have to be open. */
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
    .option('--timeout <duration>', 'longest wait', parseTimeout, parseTimeout('1h'))
    .addOption(outputOption())
    .action(async (options: WaitOptions) => {
      using access = await accessOf(options);
      const question = questionOf(options, { access, context });
      const { view, code } = await waitFor(goals[options.for], {
        view: () => viewRollover(question),
        context,
        timeoutMs: options.timeout * second,
      });
      const text = await print(options.output, rolloverDocument(view), () => rolloverTable(view));
      context.stdout.write(text);
      exit(code);
    });
}

interface Wait {
  readonly view: () => Promise<RolloverView>;
  readonly context: Pick<CliContext, 'clock' | 'stderr'>;
  readonly timeoutMs: number;
}

/** Reads the cluster again and again, until the gates are open, time is over, or something fails. */
export async function waitFor(
  ids: readonly GateId[],
  { view, context: { clock, stderr }, timeoutMs }: Wait,
): Promise<{ readonly view: RolloverView; readonly code: ExitCode }> {
  const start = clock.elapsed();
  let harmfulFrom: number | undefined;
  let said = '';
  for (;;) {
    const found = await view();
    if (areOpen(found.gates, ids)) return { view: found, code: codes.fine };
    const now = clock.elapsed();
    const isHarmful = found.gates.some(({ state }) => state === 'harmful');
    harmfulFrom = isHarmful ? (harmfulFrom ?? now) : undefined;
    if (harmfulFrom !== undefined && now - harmfulFrom >= graceMs) {
      return { view: found, code: codes.expired };
    }
    if (now - start >= timeoutMs) return { view: found, code: codes.expiring };
    const line = waitingLine(found.gates, ids);
    if (line !== said) stderr.write(`${line}\n`);
    said = line;
    await clock.sleep(Math.min(intervalMs, timeoutMs), new AbortController().signal);
  }
}

/** The first reason of each gate that is not open. */
function waitingLine(gates: readonly Gate[], ids: readonly GateId[]): string {
  if (gates.length === 0) return 'waiting for a second CA in the cluster';
  const closed = gates.filter(({ id, state }) => ids.includes(id) && state !== 'open');
  const texts = closed.map(({ id, reasons }) => `${id}: ${reasons[0]?.message}`);
  return oneLine(`waiting for ${texts.join('; ')}`);
}
