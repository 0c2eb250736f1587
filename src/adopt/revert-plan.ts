import { formatInstant } from '../core/instant.ts';
import type { Tree } from '../sys/tree.ts';
import type { AdoptionFacts } from './facts.ts';
import type { FileContent } from '../store/file-content.ts';
import { loadText } from './kubeconfig-facts.ts';
import type { Note, Obstacle, Plan, Step } from './plan.ts';
import { restartOf } from './plan-adoption.ts';
import type { RestorableFile } from '../store/restore-files.ts';
import { inspectFiles } from '../store/restore-files.ts';
import { restorations } from '../store/run-folder.ts';
import { isYamlMap } from '../kube/yaml-edit.ts';

/** Plans the steps that restore all files, and the reasons to refuse. Changes no file. */
export async function planRevert(tree: Tree, facts: AdoptionFacts): Promise<Plan> {
  const files = await inspectFiles(tree, restorations(facts.runs.active));
  const pending = files.filter(({ kind }) => kind !== 'done');
  const steps = pending.map(stepOf);
  const restart = steps.length === 0 ? undefined : restartOf(facts);
  return {
    steps,
    obstacles: [
      ...pending.filter(({ kind }) => kind === 'changed-since').map(changedSince),
      ...(await checkCredential(tree, facts, pending)),
    ],
    notes: steps.length === 0 ? [] : agentRuns(facts),
    ...(restart && { restart }),
  };
}

function stepOf({ path, current, target }: RestorableFile): Step {
  const [before, after] = [textOf(current), textOf(target)];
  return {
    id: target === undefined ? 'removed' : 'restored',
    file: path,
    form: isYamlMap(after ?? before) ? 'yaml' : 'text',
    what:
      target === undefined
        ? 'the file did not exist before'
        : `the previous content, with mode ${target.state.mode}`,
    why: 'nodecertd adopt changed this file',
    ...(before !== undefined && { before }),
    ...(after !== undefined && { after }),
  };
}

function textOf(content: FileContent | undefined): string | undefined {
  return content && new TextDecoder('utf-8', { ignoreBOM: true }).decode(content.bytes);
}

function changedSince({ path }: RestorableFile): Obstacle {
  return {
    id: 'changed-since',
    what: `${path} was changed after the adoption; the diff shows the changes that a revert would discard`,
    remedy: `Keep ${path} as it is, or revert with --force and make the change again afterwards`,
  };
}

/** The certificate of a previous kubeconfig may have expired, or been deleted. */
async function checkCredential(
  tree: Tree,
  { paths, config, now }: AdoptionFacts,
  pending: readonly RestorableFile[],
): Promise<Obstacle[]> {
  const { path: file } = await tree.locate(paths.kubeconfig ?? config.kubeconfig);
  const text = textOf(pending.find(({ path }) => path === file)?.target);
  if (text === undefined) return [];
  const { failure, expiresAt = Infinity } = await loadText(tree, { file, text });
  if (failure === undefined && now < expiresAt) return [];
  const problem = failure?.message ?? `its certificate expired at ${formatInstant(expiresAt)}`;
  return [
    {
      id: 'restored-credential',
      what: `the previous ${file} cannot be used: ${problem}`,
      why: 'A kubelet that starts with it cannot authenticate',
      remedy:
        'Write a bootstrap kubeconfig with a token from: kubeadm token create; then revert with --force',
    },
  ];
}

function agentRuns({ agentPid, config }: AdoptionFacts): Note[] {
  if (agentPid === undefined) return [];
  const defers = config.kubelet.deferToKubelet;
  return [
    {
      id: 'agent-running',
      what: `nodecertd (pid ${agentPid}) keeps running, and ${defers ? 'only observes the certificates that the kubelet rotates again' : 'does not defer to the kubelet, so both would rotate the certificates'}`,
      remedy: `${defers ? 'Leave nodecertd running, or stop it' : 'Stop nodecertd'}: systemctl disable --now nodecertd`,
    },
  ];
}
