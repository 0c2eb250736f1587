import { AgentError } from '../../core/errors.ts';
import type { RolloverShell } from './plan-commands.ts';
import {
  clusterInfoCommand,
  copyCommands,
  copyFinishedCommands,
  createdFiles,
  createCommands,
  distrustCommands,
  finishCommands,
  forgetCommand,
  returnCommands,
  switchBackCommands,
  switchCommands,
  trustCommands,
} from './plan-commands.ts';

/** What a plan needs to know of a cluster. */
export interface PlanFacts extends RolloverShell {
  /** At least one; the node of the leading kube-controller-manager is the last. */
  readonly controlPlanes: readonly string[];
}

/** One step of a rollover. */
export interface PlanStep {
  readonly id: string;
  readonly title: string;
  /** Run one after the other, each as root in a shell on its node. */
  readonly blocks: readonly PlanBlock[];
}

export interface PlanBlock {
  readonly node: string;
  readonly commands: readonly string[];
}

/**
 * The steps of a rollover of the kubernetes CA by hand, in their order. The files have the names
 * that docs/ca-rollover.md explains.
 */
export function rolloverPlan({ controlPlanes, ...shell }: PlanFacts): PlanStep[] {
  const [first = 'CONTROL-PLANE-NODE', ...others] = controlPlanes;
  const last = others.at(-1) ?? first;
  const onEach = (commands: readonly string[]): PlanBlock[] =>
    [first, ...others].map((node) => on(node, ...commands));
  const wait = (goal: string, timeout: string): PlanBlock => on(first, waitCommand(goal, timeout));
  return [
    {
      id: 'create',
      title: 'Create the new CA, and copy it to every control-plane node',
      blocks: [on(first, ...createCommands(shell), ...copyCommands(createdFiles(shell), others))],
    },
    {
      id: 'trust',
      title: 'Let the control plane trust both CAs, one node after the other',
      blocks: [
        ...onEach(trustCommands(shell)),
        on(last, clusterInfoCommand('ca-bundle.crt', shell)),
      ],
    },
    {
      id: 'union',
      title: 'Wait until the whole cluster trusts both CAs',
      blocks: [wait('union', '2h')],
    },
    {
      id: 'switch',
      title: 'Issue certificates from the new CA, one node after the other',
      blocks: onEach(switchCommands(shell)),
    },
    {
      id: 'droppable',
      title: 'Wait until nothing needs the old CA; add --audit-log FILE or --clients-ok',
      blocks: [wait('droppable', '3d')],
    },
    {
      id: 'finish',
      title: 'Remove the old CA, one node after the other',
      blocks: [
        ...onEach(finishCommands(shell)),
        on(last, clusterInfoCommand('ca.crt', shell), forgetCommand),
      ],
    },
  ];
}

/**
 * The return to the old CA. The first two steps are for a cluster in which the step `switch` has
 * begun on a node.
 */
export function abortPlan({ controlPlanes, ...shell }: PlanFacts): PlanStep[] {
  const [first = 'CONTROL-PLANE-NODE', ...others] = controlPlanes;
  const nodes = [first, ...others];
  const last = nodes.at(-1) ?? first;
  return [
    {
      id: 'switch-back',
      title:
        'If "switch" has begun: issue certificates from the old CA again, one node after the other',
      blocks: nodes.map((node) => on(node, ...switchBackCommands(shell))),
    },
    {
      id: 'droppable',
      title:
        'If "switch" has begun: wait until nothing needs the new CA; add --audit-log FILE or --clients-ok',
      blocks: [on(first, waitForOldCommand(shell))],
    },
    {
      id: 'distrust',
      title: 'Remove the new CA, one node after the other',
      blocks: [
        ...nodes.map((node) => on(node, ...distrustCommands(shell))),
        on(last, clusterInfoCommand('ca.crt', shell), forgetCommand),
      ],
    },
  ];
}

/**
 * The return of a control-plane node that was off until the others had done `finish`.
 * @throws AgentError USAGE for a Node that is not one of several control-plane nodes
 */
export function returnPlan({ controlPlanes, ...shell }: PlanFacts, node: string): PlanStep[] {
  // The leading kube-controller-manager runs, so its node is not off.
  const from = controlPlanes.findLast((name) => name !== node);
  if (from === undefined || !controlPlanes.includes(node)) {
    throw new AgentError('USAGE', `${node} is not one of several control-plane nodes`, {
      remedy: `Name one of these Nodes: ${controlPlanes.join(', ')}`,
    });
  }
  return [
    {
      id: 'copy',
      title: 'Copy the CA of the cluster to the node',
      blocks: [on(from, ...copyFinishedCommands(shell, node))],
    },
    {
      id: 'return',
      title: 'Issue the certificates of the node again',
      blocks: [
        on(node, ...returnCommands(shell, node)),
        on(node, 'nodecertd trust sync --restart'),
      ],
    },
    {
      id: 'check',
      title: 'Check the cluster. If nothing is wrong, add the node to the load balancer again',
      blocks: [on(node, 'nodecertd ca-rollover verify'), on(from, 'nodecertd ca-rollover status')],
    },
  ];
}

/** The same wait with the CAs swapped. */
function waitForOldCommand({ certificates }: RolloverShell): string {
  const fingerprint = (name: string): string =>
    `$(openssl x509 -in ${certificates}/${name} -outform der | sha256sum | cut -c 1-16)`;
  return `${waitCommand('droppable', '3d')} --old ${fingerprint('ca-next.crt')} --new ${fingerprint('ca-previous.crt')}`;
}

function waitCommand(goal: string, timeout: string): string {
  return `nodecertd ca-rollover wait --for ${goal} --timeout ${timeout}`;
}

function on(node: string, ...commands: readonly string[]): PlanBlock {
  return { node, commands };
}
