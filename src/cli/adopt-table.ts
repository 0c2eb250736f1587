import { styleText } from 'node:util';
import type { Remark, Step } from '../adopt/plan.ts';
import { stepDiff } from '../adopt/step-diff.ts';
import type { AdoptReport } from './adopt-report.ts';
import { adoptState } from './adopt-report.ts';
import { oneLine } from './text.ts';

type Tone = 'red' | 'green' | 'cyan' | 'yellow' | 'bold';
type Paint = (tone: Tone, text: string) => string;

/** The plan for people: each file with the reason and the difference, what is in the way, what comes next. */
export function adoptTable(report: AdoptReport, colour: boolean): string {
  const paint: Paint = (tone, text) =>
    // The stream is judged by whoever calls; this one must not look at another.
    colour ? styleText(tone, text, { validateStream: false }) : text;
  const { plan, nodeName, certificateDirectory, root } = report;
  const place = root === undefined ? '' : ` · in ${root}`;
  return [
    oneLine(`Node ${nodeName} · ${certificateDirectory}${place}`),
    ...plan.steps.flatMap((step) => stepLines(step, paint)),
    ...remarks('IN THE WAY', plan.obstacles, { tone: 'red', paint }),
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
  const image = root === undefined ? '' : ` --root ${oneLine(root)}`;
  const command = `nodecertd adopt${image}${action === 'revert' ? ' --revert' : ''} --yes${restart}`;
  switch (adoptState(report)) {
    case 'nothing-to-do':
      return action === 'adopt'
        ? 'Nothing to do: the kubelet leaves its certificates to nodecertd'
        : 'Nothing to do: nothing of nodecertd adopt is in place';
    case 'blocked':
      return 'Nothing was changed: see what is in the way';
    case 'pending':
      return count === 0
        ? `Pending: nothing but what is said above; ${command}`
        : `Pending: ${files}, nothing was changed; ${command}`;
    case 'done': {
      const verb = action === 'adopt' ? 'Changed' : 'Put back';
      const after = restarted ? ', and the kubelet was restarted' : '';
      return count === 0 && restarted ? 'The kubelet was restarted' : `${verb}: ${files}${after}`;
    }
  }
}
