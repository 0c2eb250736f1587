import type { Command } from 'commander';
import { Option } from 'commander';
import { version } from '../core/version.ts';
import { KubeClient } from '../kube/rest-client.ts';
import { readPlanFacts } from '../trust/cluster/plan-facts.ts';
import type { PlanStep } from '../trust/cluster/plan.ts';
import { abortPlan, returnPlan, rolloverPlan } from '../trust/cluster/plan.ts';
import type { RolloverOptions } from './ca-rollover-options.ts';
import { accessOf, addKubeconfigOption } from './ca-rollover-options.ts';
import type { CliContext } from './context.ts';
import type { OutputFormat } from './print.ts';
import { outputOption, print } from './print.ts';

interface PlanOptions extends Pick<RolloverOptions, 'kubeconfig'> {
  readonly abort?: true;
  readonly return?: string;
  readonly output: OutputFormat;
}

/** `nodecertd ca-rollover plan`: the commands for this cluster, in their order. Runs none of them. */
export function configure(
  command: Command,
  { stdout, clock }: CliContext,
  exit: (code: number) => void,
): void {
  addKubeconfigOption(command)
    .addOption(
      new Option('--abort', 'print the commands that return to the old CA').conflicts('return'),
    )
    .option(
      '--return <node>',
      'print the commands for a control-plane node that was off until the step finish was done on the others',
    )
    .addOption(outputOption())
    .action(async (options: PlanOptions) => {
      using access = await accessOf(options);
      await using client = await KubeClient.open({ access, version, clock });
      const facts = await readPlanFacts(client, new AbortController().signal);
      const { abort, return: node } = options;
      const steps =
        node !== undefined
          ? returnPlan(facts, node)
          : abort === true
            ? abortPlan(facts)
            : rolloverPlan(facts);
      const document = { apiVersion: 'nodecertd.io/v1alpha1', kind: 'CaRolloverPlan', steps };
      const notes = node === undefined ? rolloverNotes : returnNotes;
      stdout.write(await print(options.output, document, () => planText(steps, notes)));
      exit(0);
    });
}

/** A script in parts: every line that is not a command is a comment. */
function planText(steps: readonly PlanStep[], notes: readonly string[]): string {
  const parts = steps.map(({ id, title, blocks }, at) =>
    [
      `# ${at + 1}. ${id}: ${title}`,
      ...blocks.flatMap(({ node, commands }) => ['', `# as root on ${node}`, blockText(commands)]),
      '',
    ].join('\n'),
  );
  return [...notes, '', ...parts].join('\n');
}

/** Several commands become a subshell, which ends at the first one that fails. */
export function blockText(commands: readonly string[]): string {
  if (commands.length === 1) return commands.join('');
  return ['(', 'set -e', ...commands, ')'].join('\n');
}

const stopNote =
  '# Each block in parentheses ends at the first command that fails. Continue only after all commands of a part have succeeded.';

const rolloverNotes = [
  '# A rollover of the CA "kubernetes". Explanations: docs/ca-rollover.md',
  stopNote,
  '# Until the last part has ended: no kubeadm upgrade, no kubeadm certs renew, no new control-plane node without the files that docs/ca-rollover.md names.',
];

const returnNotes = [
  '# A control-plane node that was off during a rollover of the CA "kubernetes", after the step finish on the others.',
  '# Take the node out of the load balancer before you start it.',
  stopNote,
];
