import { defaultApproverPolicy } from '../../src/core/approver-policy.ts';
import type { ApproverPolicy } from '../../src/core/approver-policy.ts';
import { parseCidr, parseIp } from '../../src/core/cidr.ts';
import type { Cidr, IpBytes } from '../../src/core/cidr.ts';
import type { NodeAddress } from '../../src/core/enroller-protocol.ts';
import { minute, second } from '../../src/core/instant.ts';
import type { Decision } from '../../src/approver/decision.ts';
import { evaluate } from '../../src/approver/evaluate.ts';
import type { QuestionInput } from '../../src/approver/checks/question.ts';
import type { Explanation } from '../../src/approver/explanation.ts';
import { explain } from '../../src/approver/explanation.ts';
import type { CsrReference, Facts, FreshNode, Source } from '../../src/approver/facts.ts';
import { NodeIndex } from '../../src/approver/node-index.ts';
import type { NodeSnapshot } from '../../src/approver/node-snapshot.ts';
import type { ServingCsr } from '../../src/approver/serving-csr.ts';
import type { RequestParts } from './requests.ts';
import { requestPem } from './requests.ts';

/** The cluster of the acceptance cases: Node n1 with Hostname n1, 10.100.0.2 and fd00::2. */

export const createdAt = Date.parse('2026-11-22T10:00:00Z');
/** After the grace period of 60 s, so that a mismatch is a denial. */
export const afterGrace = createdAt + 2 * minute;
/** Within the grace period. */
export const early = createdAt + second;

export const n1Addresses: readonly NodeAddress[] = [
  { type: 'Hostname', address: 'n1' },
  { type: 'InternalIP', address: '10.100.0.2' },
  { type: 'InternalIP', address: 'fd00::2' },
];

export function node(changes: Partial<NodeSnapshot> = {}): NodeSnapshot {
  const name = changes.name ?? 'n1';
  return {
    name,
    uid: `uid-${name}`,
    resourceVersion: '100',
    createdAt: createdAt - minute,
    isTerminating: false,
    isUninitialized: false,
    isControlPlane: false,
    addresses: n1Addresses,
    podCidrs: [],
    providerId: '',
    ...changes,
  };
}

export function servingCsr(
  request: RequestParts | Uint8Array = {},
  changes: Partial<ServingCsr> = {},
): ServingCsr {
  return {
    name: 'csr-1',
    uid: 'uid-csr-1',
    resourceVersion: '200',
    createdAt,
    isDeleting: false,
    signerName: 'kubernetes.io/kubelet-serving',
    username: 'system:node:n1',
    groups: ['system:nodes', 'system:authenticated'],
    usages: ['digital signature', 'server auth'],
    expirationSeconds: undefined,
    request: request instanceof Uint8Array ? request : requestPem(request),
    conditionTypes: [],
    hasCertificate: false,
    ...changes,
  };
}

export interface Situation {
  readonly nodes?: readonly NodeSnapshot[];
  readonly earlierSeenAt?: number;
  readonly freshNode?: FreshNode;
  readonly keyUses?: readonly CsrReference[];
  readonly newest?: CsrReference;
  readonly serviceCidrs?: readonly string[];
  readonly kubernetesService?: readonly string[];
  readonly apiServers?: readonly string[];
  readonly controlPlaneEndpoint?: string;
  readonly sources?: readonly Source[];
}

export function factsOf(situation: Situation = {}): Facts {
  const { nodes = [node()], keyUses = [], sources = [], freshNode, newest } = situation;
  const index = new NodeIndex();
  if (situation.earlierSeenAt !== undefined) {
    index.put(node({ uid: 'uid-earlier' }), 0);
    index.remove('n1', situation.earlierSeenAt);
  }
  for (const node of nodes) index.put(node, createdAt);
  return {
    nodes: index,
    ...(freshNode && { freshNode }),
    csrs: { newest: () => newest, keyUses: () => keyUses },
    cluster: {
      serviceCidrs: cidrs(situation.serviceCidrs ?? ['10.96.0.0/16', 'fd00:1::/108']),
      kubernetesService: ips(situation.kubernetesService ?? ['10.96.0.1']),
      apiServers: ips(situation.apiServers ?? ['10.100.0.1']),
      controlPlaneEndpoint: situation.controlPlaneEndpoint,
    },
    sources,
  };
}

export function policy(changes: Partial<ApproverPolicy> = {}): ApproverPolicy {
  return { ...defaultApproverPolicy, ...changes };
}

export function cidrs(texts: readonly string[]): Cidr[] {
  return texts.map((text) => required(parseCidr(text), text));
}

export function ips(texts: readonly string[]): IpBytes[] {
  return texts.map((text) => required(parseIp(text), text));
}

function required<T>(value: T | undefined, text: string): T {
  if (value === undefined) throw new Error(`${text} cannot be parsed`);
  return value;
}

export interface Asked {
  readonly csr?: ServingCsr;
  readonly situation?: Situation;
  readonly policy?: Partial<ApproverPolicy>;
  readonly now?: number;
}

/** The decision as the controller makes it: with a fresh Node if the first evaluation asks for it. */
export function decide(asked: Asked): Decision {
  const input = questionOf(asked);
  const first = evaluate(input);
  return first.finding?.needsFreshNode === true ? evaluate(withFreshNode(input)) : first;
}

/** What the command shows: it always reads the Node itself. */
export function explained(asked: Asked): Explanation {
  return explain(withFreshNode(questionOf(asked)));
}

function questionOf({
  csr = servingCsr(),
  situation = {},
  policy: changes,
  now = early,
}: Asked): QuestionInput {
  return { csr, facts: factsOf(situation), policy: policy(changes), now };
}

function withFreshNode(input: QuestionInput): QuestionInput {
  const { facts } = input;
  return { ...input, facts: { ...facts, freshNode: { node: facts.nodes.get('n1') } } };
}
