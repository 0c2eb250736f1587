import type { AdoptionFacts } from './facts.ts';
import type { FileContent } from './file-content.ts';
import type { Note, Obstacle, Plan, Step } from './plan.ts';
import { readOnce, restartOf } from './restart-plan.ts';
import type { Restorable } from './restore.ts';
import { examineAll } from './restore.ts';
import { credentialTrouble } from './restored-credential.ts';
import { restorations } from './runs.ts';
import type { Tree } from './tree.ts';
import { isYamlMap } from './yaml-edit.ts';

/** What puts everything back, and what speaks against it. Changes nothing. */
export async function planRevert(tree: Tree, facts: AdoptionFacts): Promise<Plan> {
  const files = await examineAll(tree, restorations(facts.runs.standing));
  const pending = files.filter(({ kind }) => kind !== 'done');
  const steps = pending.map(stepOf);
  const running = facts.live && facts.kubelet.running !== undefined;
  return {
    steps,
    obstacles: [
      ...pending.filter(({ kind }) => kind === 'changed-since').map(changedSince),
      ...(await checkCredential(tree, facts, pending)),
    ],
    notes: steps.length === 0 ? [] : agentRuns(facts),
    ...(running && steps.length > 0 && { restart: restartOf(facts, readOnce) }),
  };
}

function stepOf({ path, current, target }: Restorable): Step {
  const [before, after] = [textOf(current), textOf(target)];
  return {
    id: target === undefined ? 'removed' : 'restored',
    file: path,
    form: isYamlMap(after ?? before) ? 'yaml' : 'text',
    what:
      target === undefined ? 'there was no such file' : `as it was, with mode ${target.state.mode}`,
    why: 'nodecertd adopt changed it',
    ...(before !== undefined && { before }),
    ...(after !== undefined && { after }),
  };
}

function textOf(content: FileContent | undefined): string | undefined {
  return content && new TextDecoder('utf-8', { ignoreBOM: true }).decode(content.bytes);
}

function changedSince({ path }: Restorable): Obstacle {
  return {
    id: 'changed-since',
    what: `${path} was changed since: the difference shows all that would be lost with it`,
    remedy: `Put that change back into ${path} afterwards and use --force, or leave the file as it is`,
  };
}

/** A kubeconfig from before may name a certificate that has expired or is long gone. */
async function checkCredential(
  tree: Tree,
  { paths, config, now }: AdoptionFacts,
  pending: readonly Restorable[],
): Promise<Obstacle[]> {
  const { path: file } = await tree.locate(paths.kubeconfig ?? config.kubeconfig);
  const target = pending.find(({ path }) => path === file)?.target;
  if (target === undefined) return [];
  const trouble = await credentialTrouble(tree, { file, bytes: target.bytes, now });
  if (trouble === undefined) return [];
  return [
    {
      id: 'restored-credential',
      what: `the ${file} of before ${trouble}`,
      why: 'A kubelet that starts with it cannot authenticate',
      remedy:
        'Have a bootstrap kubeconfig with a valid token in place before --force: kubeadm token create',
    },
  ];
}

function agentRuns({ agentPid, config }: AdoptionFacts): Note[] {
  if (agentPid === undefined) return [];
  const agent = `nodecertd (pid ${agentPid}) works on the same pairs`;
  return [
    config.kubelet.deferToKubelet
      ? {
          id: 'agent-running',
          what: `${agent}: what the kubelet rotates again it only watches from then on`,
          remedy: 'Leave it so, or systemctl disable --now nodecertd',
        }
      : {
          id: 'agent-running',
          what: `${agent}, and does not stand back: from then on both rotate them`,
          remedy: 'systemctl disable --now nodecertd',
        },
  ];
}
