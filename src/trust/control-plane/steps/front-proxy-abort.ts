import type { GateReason } from '../../cluster/gate.ts';
import { lostKey } from '../ca-files.ts';
import { clientAuthoritiesTask } from '../client-authorities-task.ts';
import { uploadedCertificatesTask } from '../cluster-tasks.ts';
import { nextProxies, rejectionsOf, unanswered, usesNext } from '../front-proxy-gate.ts';
import { exceptedNotes } from '../node-order.ts';
import { abortElsewhere } from './abort-elsewhere.ts';
import type { FrontProxyView } from './front-proxy.ts';
import { trusting, unknownIssuer, viewFrontProxies } from './front-proxy.ts';
import type { AbortQuestion, Judgement, StepCluster } from './step-cluster.ts';

/**
 * The part of the cluster in the step `abort` of the CA `front-proxy`.
 * @throws AgentError KEY_UNSUPPORTED; as KubeClient.request
 */
export async function frontProxyAbort(question: AbortQuestion): Promise<StepCluster> {
  const { latest, request } = question;
  const view = await viewFrontProxies(question);
  const uploaded = await uploadedCertificatesTask(request);
  const behind = latest === 'switch' ? [] : trusting('next', view);
  const isLast = latest !== 'switch' && behind.length === 0;
  const old = view.question.authorities.next;
  const removed = { old, clients: 'front-proxy', step: 'abort' } as const;
  return {
    ...(latest === 'switch' && {
      firstTasks: await unknownIssuer('old', question, view.facts.own),
    }),
    tasks: [...uploaded, ...(isLast ? [await clientAuthoritiesTask(request, removed)] : [])],
    nodes: view.facts,
    notes: exceptedNotes(behind, view.question.except),
    judge: async () => judge(question, view),
  };
}

function judge(asked: AbortQuestion, view: FrontProxyView): Judgement {
  const { others } = view.facts;
  const switched = others.filter((other) => usesNext(other, view.question));
  const names = switched.map(({ name }) => name);
  return {
    gates: [],
    reasons: reasonsAgainstAbort(asked, view),
    commands: abortElsewhere(
      { latest: asked.latest, ca: 'front-proxy' },
      { others, switched: names },
    ),
  };
}

/** A server would reject the certificate that a kube-apiserver uses afterward. */
export function reasonsAgainstAbort(
  { latest, node }: Pick<AbortQuestion, 'latest' | 'node'>,
  { facts, question }: FrontProxyView,
): GateReason[] {
  if (latest !== 'switch') {
    return [...nextProxies(facts, question), ...unanswered('next', facts, question)];
  }
  // Without the key, no probe can be minted.
  const lost = lostKey(node);
  return lost.length > 0 ? lost : rejectionsOf('old', facts, question);
}
