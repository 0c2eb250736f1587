import { longestBeforeNode } from '../../core/approver-policy.ts';
import { formatDuration, formatInstant, second } from '../../core/instant.ts';
import type { Check, UsedFact } from './check.ts';
import type { Finding } from '../decision.ts';
import type { NodeSnapshot } from '../node-snapshot.ts';
import { sourceOf } from '../node-snapshot.ts';
import type { Question } from './question.ts';
import { deny, hold } from './question.ts';

export const nodeChecks: readonly Check[] = [
  {
    id: '5.1',
    codes: ['NodeNotFound'],
    passesIf: 'the Node exists',
    judge: ({ node, nodeName, isNodeFresh }) => {
      if (node !== undefined) return undefined;
      const remedy =
        'Wait until the kubelet has registered the Node; if it does not, read its log on the node: journalctl -u kubelet';
      const finding = hold('NodeNotFound', `there is no Node ${nodeName}`, remedy);
      return isNodeFresh ? finding : { ...finding, needsFreshNode: true };
    },
    facts: ({ node, nodeName }) => [
      { fact: 'uid', value: node?.uid ?? 'none', ...sourceOf(node, nodeName) },
    ],
  },
  {
    id: '5.2',
    codes: ['NodeRecreated'],
    passesIf: 'the CSR is not from an earlier Node of this name',
    judge: (question) => withNode(question, recreatedFinding),
    facts: (question) => [
      ...nodeFact(question, 'creationTimestamp', (node) => formatInstant(node.createdAt)),
      { fact: 'creationTimestamp', value: formatInstant(question.csr.createdAt), source: 'CSR' },
    ],
  },
  {
    id: '5.3',
    codes: ['NodeTerminating', 'NodeUninitialized'],
    passesIf: 'the Node is not being deleted, and its cloud provider has initialized it',
    judge: (question) => withNode(question, stateFinding),
    facts: (question) => [
      ...nodeFact(question, 'deletionTimestamp', (node) =>
        node.isTerminating ? 'set' : 'not set',
      ),
      ...nodeFact(question, 'uninitialized taint', (node) =>
        node.isUninitialized ? 'set' : 'not set',
      ),
    ],
  },
  {
    id: '5.4',
    codes: ['AddressesEmpty'],
    passesIf: 'the Node has at least one address',
    judge: (question) =>
      withNode(question, ({ name, addresses }) => {
        if (addresses.length > 0) return undefined;
        return hold(
          'AddressesEmpty',
          `Node ${name} has no address in its status`,
          'Wait until the kubelet or the cloud provider has set the addresses; read their logs if they do not',
        );
      }),
    facts: (question) => addressFacts(question),
  },
];

/** Later checks rely on 5.1, so a missing Node is no finding of theirs. */
export function withNode(
  question: Question,
  find: (node: NodeSnapshot, question: Question) => Finding | undefined,
): Finding | undefined {
  return question.node === undefined ? undefined : find(question.node, question);
}

/** An address of the Node's status for an explanation. */
export function addressFacts(question: Question): UsedFact[] {
  return nodeFact(
    question,
    'status.addresses',
    ({ addresses }) =>
      addresses.map(({ type, address }) => `${type} ${address}`).join(', ') || 'none',
  );
}

function nodeFact(
  { node, nodeName }: Question,
  fact: string,
  value: (node: NodeSnapshot) => string,
): UsedFact[] {
  return node === undefined ? [] : [{ fact, value: value(node), ...sourceOf(node, nodeName) }];
}

function recreatedFinding(node: NodeSnapshot, question: Question): Finding | undefined {
  const { csr, facts } = question;
  const remedy = 'Do nothing; the kubelet of the new Node creates a CSR of its own';
  if (node.createdAt - csr.createdAt > longestBeforeNode) {
    const age = formatDuration(node.createdAt - csr.createdAt);
    const message = `the CSR is ${age} older than Node ${node.name}, so an earlier Node of this name requested it`;
    return deny('NodeRecreated', message, remedy);
  }
  const seenAt = facts.nodes.earlierSeenAt(node.name);
  // Creation times have whole seconds, so an earlier Node of the same second proves nothing.
  if (seenAt === undefined || Math.floor(seenAt / second) * second <= csr.createdAt)
    return undefined;
  const message = `an earlier Node ${node.name} existed at ${formatInstant(seenAt)}, after the CSR was created`;
  return deny('NodeRecreated', message, remedy);
}

function stateFinding(node: NodeSnapshot): Finding | undefined {
  if (node.isTerminating) {
    const remedy = `Wait until the Node is deleted, or find out what blocks that: kubectl get node ${node.name} -o jsonpath={.metadata.finalizers}`;
    return hold('NodeTerminating', `Node ${node.name} is being deleted`, remedy);
  }
  if (!node.isUninitialized) return undefined;
  return hold(
    'NodeUninitialized',
    `Node ${node.name} has the taint node.cloudprovider.kubernetes.io/uninitialized`,
    'Wait until the cloud controller manager has initialized the Node; read its log if it does not',
  );
}
