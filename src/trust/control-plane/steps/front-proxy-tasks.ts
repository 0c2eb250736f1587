import { AgentError } from '../../../core/errors.ts';
import { fileIn } from '../../../pki/components/component-flags.ts';
import { keyFileOf } from '../../../pki/layout.ts';
import { requireAggregation } from '../aggregation-check.ts';
import { bothCas, caReplacement, issuerFirst, keyReplacement, requireKey } from '../ca-files.ts';
import type { CheckContext } from '../check.ts';
import { requireFrontProxyTrust } from '../front-proxy-trust.ts';
import { pairPath, pairReplacement } from '../leaf.ts';
import type { RolloverNode } from '../node-files.ts';
import { fileTask } from '../replacement.ts';
import { latestStep } from '../stage.ts';
import type { FileTask } from '../task.ts';
import type { RolloverSide } from '../../cluster/gate.ts';
import { otherTrustFiles } from '../trust-files.ts';

/*
 * Nothing signs with front-proxy-ca.crt while the cluster runs, so the file has both CAs during the
 * rollover, and no flag changes. kube-apiserver reloads all files of these steps.
 */

/** kube-apiserver accepts front-proxy certificates from both CAs, and publishes both for extension API servers. */
export async function trustFrontProxyTasks(context: CheckContext): Promise<FileTask[]> {
  return [await trustedTask(context, bothCas, 'old')];
}

/** kube-apiserver uses a certificate from the new CA for extension API servers. */
export async function switchFrontProxyTasks(context: CheckContext): Promise<FileTask[]> {
  const { node } = context;
  await requireUsualPair(node);
  return [
    fileTask('previous CA', [
      ...(node.old.key === undefined ? [] : [await keyReplacement(node, 'previous', 'old')]),
      caReplacement(node, 'previous', ['old']),
    ]),
    ...(await issuingTasks(context, 'next')),
  ];
}

/** kube-apiserver accepts front-proxy certificates from the new CA alone. */
export async function finishFrontProxyTasks(context: CheckContext): Promise<FileTask[]> {
  return aloneTasks(context, 'next');
}

/** One stage back: a certificate from the old CA again. Before that, kube-apiserver accepts the old CA alone. */
export async function abortFrontProxyTasks(context: CheckContext): Promise<FileTask[]> {
  const isSwitched = (await latestStep(context.node)) === 'switch';
  return (isSwitched ? issuingTasks : aloneTasks)(context, 'old');
}

async function issuingTasks(context: CheckContext, by: RolloverSide): Promise<FileTask[]> {
  const { node, clock } = context;
  requireKey(node, by);
  const name = 'front-proxy-client';
  return [
    fileTask(name, [await pairReplacement(node, name, { by, chain: [], now: clock.now() })], {
      check: async (signal) => requireAggregation(context, signal),
    }),
    await trustedTask(context, issuerFirst[by], by),
  ];
}

async function aloneTasks(context: CheckContext, by: RolloverSide): Promise<FileTask[]> {
  return [await trustedTask(context, [by], by)];
}

async function trustedTask(
  context: CheckContext,
  sides: readonly RolloverSide[],
  signing: RolloverSide,
): Promise<FileTask> {
  const { node } = context;
  return fileTask(
    'trusted CAs',
    [
      await keyReplacement(node, 'trusted', signing),
      caReplacement(node, 'trusted', sides),
      ...(await otherTrustFiles(node, sides)),
    ],
    { check: async (signal) => requireFrontProxyTrust(context, sides, signal) },
  );
}

/** @throws AgentError CONFIG_INVALID if kube-apiserver uses other files than kubeadm's */
async function requireUsualPair(node: RolloverNode): Promise<void> {
  const server = node.components.find(({ name }) => name === 'kube-apiserver');
  const used = fileIn(server, 'proxy-client-cert-file');
  if (used === undefined) return;
  const own = pairPath(node, 'front-proxy-client');
  const [found, expected] = await Promise.all([node.tree.locate(used), node.tree.locate(own)]);
  if (found.path === expected.path) return;
  throw new AgentError(
    'CONFIG_INVALID',
    `kube-apiserver has the file ${used} as --proxy-client-cert-file, and apply replaces only ${own}`,
    {
      remedy: `Set these flags, as kubeadm does: --proxy-client-cert-file=${own} --proxy-client-key-file=${keyFileOf(own)}`,
    },
  );
}
