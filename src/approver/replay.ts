import type { ApproverPolicy } from '../core/approver-policy.ts';
import { kubeletServingSigner } from '../core/certificate-spec.ts';
import type { ClusterObjects } from './cluster-objects.ts';
import { addCsr, viewOf } from './cluster-objects.ts';
import { compareAge } from './csr-order.ts';
import type { Decision, DecisionCode, Outcome } from './decision.ts';
import { evaluate } from './evaluate.ts';
import type { Source } from './facts.ts';
import type { ServingCsr } from './serving-csr.ts';
import { nodeOf } from './watched-csr.ts';

/** A saved CSR, and the decision of a policy. */
export interface ReplayedCsr {
  readonly name: string;
  /** Empty if the requestor is not a node. */
  readonly node: string;
  readonly recorded: 'approved' | 'denied' | 'pending';
  readonly outcome: Outcome;
  readonly reason: DecisionCode;
  /** Empty for an approval. */
  readonly finding: string;
  readonly differs: boolean;
}

/**
 * Evaluates each CSR as if it were pending, at the end of its grace period: a hold that the
 * controller would turn into a denial is a denial here. In the order of creation, because a CSR
 * is compared with the earlier ones.
 */
export function replay(
  objects: ClusterObjects,
  { policy, sources }: { readonly policy: ApproverPolicy; readonly sources: readonly Source[] },
): ReplayedCsr[] {
  const nodes = new Map(objects.nodes.map((node) => [node.name, node]));
  const view = viewOf(objects, undefined);
  const own = objects.csrs.filter(({ signerName }) => signerName === kubeletServingSigner);
  return own.toSorted(compareAge).map((csr) => {
    addCsr(view, csr);
    const facts = view.facts(sources, { node: nodes.get(nodeOf(csr) ?? '') });
    const now = csr.createdAt + policy.mismatchGrace;
    return replayed(csr, evaluate({ csr: asPending(csr), facts, policy, now }));
  });
}

function asPending(csr: ServingCsr): ServingCsr {
  return { ...csr, conditionTypes: [], hasCertificate: false, isDeleting: false };
}

function replayed(csr: ServingCsr, { outcome, code, finding }: Decision): ReplayedCsr {
  const recorded = recordedOf(csr);
  const differs =
    (recorded === 'approved' && outcome !== 'approve') ||
    (recorded === 'denied' && outcome === 'approve');
  return {
    name: csr.name,
    node: nodeOf(csr) ?? '',
    recorded,
    outcome,
    reason: code,
    finding: finding?.message ?? '',
    differs,
  };
}

function recordedOf({ conditionTypes }: ServingCsr): ReplayedCsr['recorded'] {
  if (conditionTypes.includes('Denied')) return 'denied';
  return conditionTypes.includes('Approved') ? 'approved' : 'pending';
}
