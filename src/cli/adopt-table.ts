import { styleText } from 'node:util';
import type { Remark, Step } from '../adopt/plan.ts';
import { stepDiff } from '../adopt/step-diff.ts';
import type { AdoptReport } from './adopt-report.ts';
import { adoptState } from './adopt-report.ts';
import { oneLine } from './text.ts';

type Tone = 'red' | 'green' | 'cyan' | 'yellow' | 'bold';
type Paint = (tone: Tone, text: string) => string;

/** The plan as text: each file with the reason and the difference, the obstacles, the next command. */
export function adoptTable(report: AdoptReport, color: boolean): string {
  const paint: Paint = (tone, text) =>
    // The caller has checked the stream; styleText would check process.stdout.
    color ? styleText(tone, text, { validateStream: false }) : text;
  const { plan, nodeName, certificateDirectory, root } = report;
  const place = root === undefined ? '' : ` · in ${root}`;
  return [
    oneLine(`Node ${nodeName} · ${certificateDirectory}${place}`),
    ...plan.steps.flatMap((step) => stepLines(step, paint)),
    ...remarks('OBSTACLES', plan.obstacles, { tone: 'red', paint }),
    ...remarks('NOTES', plan.notes, { tone: 'cyan', paint }),
    ...restartLines(report, paint),
    '',
    summary(report),
    '',
  ].join('\n');
}

function stepLines(step: Step, paint: Paint): string[] {
  const { id, file, what, why } = step;
  return [
    '',
    `${paint('bold', oneLine(file))} (${id})`,
    `  ${oneLine(what)}`,
    `  ${oneLine(why)}`,
    ...stepDiff(step)
      .trimEnd()
      .split('\n')
      .map((line) => painted(line, paint)),
  ];
}

function painted(line: string, paint: Paint): string {
  if (/^(?:---|\+\+\+) /.test(line)) return paint('bold', line);
  if (line.startsWith('@@')) return paint('cyan', line);
  if (line.startsWith('-')) return paint('red', line);
  return line.startsWith('+') ? paint('green', line) : line;
}

function remarks(
  heading: string,
  found: readonly Remark<string>[],
  { tone, paint }: { readonly tone: Tone; readonly paint: Paint },
): string[] {
  if (found.length === 0) return [];
  return [
    '',
    paint('bold', heading),
    ...found.flatMap(({ id, what, why, remedy }) => [
      `  ${paint(tone, oneLine(what))} (${id})`,
      ...(why === undefined ? [] : [`    ${oneLine(why)}`]),
      `    → ${oneLine(remedy)}`,
    ]),
  ];
}

function restartLines({ plan, restarted }: AdoptReport, paint: Paint): string[] {
  if (plan.restart === undefined || restarted) return [];
  const { why, command } = plan.restart;
  return ['', paint('bold', 'RESTART'), `  ${oneLine(why)}`, `    → ${oneLine(command)}`];
}

function summary(report: AdoptReport): string {
  const { action, plan, restarted, root } = report;
  const count = plan.steps.length;
  const files = `${count} file${count === 1 ? '' : 's'}`;
  const restart = plan.restart?.unit === undefined ? '' : ' --restart';
  const revert = action === 'revert' ? ' --revert' : '';
  const command =
    root === undefined
      ? `run: nodecertd adopt${revert} --yes${restart}`
      : 'run the same command with --yes';
  switch (adoptState(report)) {
    case 'nothing-to-do':
      return action === 'adopt'
        ? 'Nothing to do: nodecertd keeps the certificates of this kubelet'
        : 'Nothing to do: there is no adoption to revert';
    case 'blocked':
      return 'Refused: no file was changed, see OBSTACLES';
    case 'pending':
      return count === 0
        ? `Pending: see above; ${command}`
        : `Pending: ${files}, not changed yet; ${command}`;
    case 'done': {
      const verb = action === 'adopt' ? 'Changed' : 'Restored';
      const after = restarted ? ', and the kubelet was restarted' : '';
      return count === 0 && restarted ? 'The kubelet was restarted' : `${verb}: ${files}${after}`;
    }
  }
}
