import { cidrContains, formatCidr } from '../../core/cidr.ts';
import type { AltName } from '../alt-name.ts';
import { altNameKey, foldName, formatAltName, keysOfAddresses } from '../alt-name.ts';
import type { Check } from './check.ts';
import type { Finding } from '../decision.ts';
import type { Source } from '../facts.ts';
import { addressFacts, withNode } from './node-checks.ts';
import type { NodeSnapshot } from '../node-snapshot.ts';
import type { Question } from './question.ts';
import { deny, hold, holdThenDeny, quoted } from './question.ts';

export const ownershipChecks: readonly Check[] = [
  {
    id: '5.5',
    codes: ['SANNotOwned'],
    passesIf: 'the SANs are names and addresses of the Node; with match exact, all of them',
    judge: (question) => withNode(question, ownedFinding),
    facts: (question) => [
      ...addressFacts(question),
      { fact: 'match', value: question.policy.match, source: 'policy' },
    ],
  },
  {
    id: '5.6',
    codes: ['AddressNotAllowed', 'NameNotAllowed'],
    passesIf: 'the policy allows the addresses and names',
    judge: (question) => {
      for (const altName of question.altNames) {
        const finding = allowedFinding(question, altName);
        if (finding !== undefined) return finding;
      }
      return undefined;
    },
    facts: ({ policy }) => [
      {
        fact: 'allowedCIDRs',
        value: policy.allowedCidrs?.map(formatCidr).join(', ') ?? 'all',
        source: 'policy',
      },
      {
        fact: 'deniedCIDRs',
        value: policy.deniedCidrs.map(formatCidr).join(', ') || 'none',
        source: 'policy',
      },
      {
        fact: 'allowedDomains',
        value: policy.allowedDomains?.join(', ') ?? 'all',
        source: 'policy',
      },
    ],
  },
  {
    id: '5.7',
    codes: ['AddressConflict'],
    passesIf:
      'no other Node has one of these names or addresses, or this Node has the better claim',
    judge: (question) => withNode(question, conflictFinding),
    facts: ({ altNames, facts, nodeName }) =>
      altNames.flatMap((altName) =>
        [...facts.nodes.claimants(altNameKey(altName))]
          .filter(({ name }) => name !== nodeName)
          .map((node) => ({
            fact: 'status.addresses',
            value: formatAltName(altName),
            source: `Node ${node.name}`,
            resourceVersion: node.resourceVersion,
          })),
      ),
  },
  {
    id: '5.8',
    codes: ['SourceDisagrees', 'SourceUnavailable'],
    passesIf: 'every configured source agrees',
    judge: (question) => withNode(question, sourceFinding),
    facts: ({ facts, nodeName }) =>
      facts.sources.map((source) => ({
        fact: 'version',
        value: source.versionOf(nodeName),
        source: source.name,
      })),
  },
];

function ownedFinding(node: NodeSnapshot, question: Question): Finding | undefined {
  const { altNames, policy } = question;
  const owned = keysOfAddresses(node.addresses);
  const foreign = altNames.find((altName) => !owned.has(altNameKey(altName)));
  const requested = new Set(altNames.map(altNameKey));
  const missing =
    policy.match === 'exact' ? [...owned].find((key) => !requested.has(key)) : undefined;
  if (foreign === undefined && missing === undefined) return undefined;
  return holdThenDeny(question, {
    code: 'SANNotOwned',
    message:
      foreign === undefined
        ? `the CSR lacks ${quoted((missing ?? '').replace(/^(?:dns|ip):/, ''))}, which Node ${node.name} has, and match is exact`
        : `the SAN ${quoted(formatAltName(foreign))} is not in the status.addresses of Node ${node.name}`,
    remedy: `Compare the SANs with the Node: kubectl get node ${node.name} -o jsonpath={.status.addresses}`,
  });
}

function allowedFinding({ policy, nodeName }: Question, altName: AltName): Finding | undefined {
  const shown = quoted(formatAltName(altName));
  if (altName.kind === 'dns') {
    if (isNameAllowed(policy.allowedDomains, { name: altName.name, nodeName })) return undefined;
    const remedy =
      'Add the domain to allowedDomains in the policy, or remove the name from the node';
    return deny('NameNotAllowed', `the name ${shown} is not in allowedDomains`, remedy);
  }
  const denied = policy.deniedCidrs.find((cidr) => cidrContains(cidr, altName.ip));
  const isAllowed = policy.allowedCidrs?.some((cidr) => cidrContains(cidr, altName.ip)) ?? true;
  if (denied === undefined && isAllowed) return undefined;
  const message =
    denied === undefined
      ? `the address ${shown} is not in allowedCIDRs`
      : `the address ${shown} is in ${formatCidr(denied)} of deniedCIDRs`;
  const remedy = 'Change allowedCIDRs or deniedCIDRs in the policy, or the addresses of the node';
  return deny('AddressNotAllowed', message, remedy);
}

/** Compares whole labels, so `example.com` does not allow `badexample.com`. */
function isNameAllowed(
  domains: readonly string[] | undefined,
  { name, nodeName }: { readonly name: string; readonly nodeName: string },
): boolean {
  if (domains === undefined) return true;
  const folded = foldName(name);
  if (folded === nodeName && !nodeName.includes('.')) return true;
  return domains.some((domain) => folded === domain || folded.endsWith(`.${domain}`));
}

/**
 * Node status is written by the nodes themselves, so one node could claim the addresses of all
 * others. The Node with the better claim passes in spite of such a claim.
 */
function conflictFinding(node: NodeSnapshot, question: Question): Finding | undefined {
  const { altNames, facts } = question;
  for (const altName of altNames) {
    for (const other of facts.nodes.claimants(altNameKey(altName))) {
      if (other.name === node.name || other.isTerminating) continue;
      if (hasBetterClaim(node, other, { altName, sources: facts.sources })) continue;
      return {
        ...hold(
          'AddressConflict',
          `Node ${other.name} also has the SAN ${quoted(formatAltName(altName))}`,
          `Remove the address from the Node that should not have it: kubectl describe node ${node.name} ${other.name}`,
        ),
        otherNodes: [other.name],
      };
    }
  }
  return undefined;
}

function hasBetterClaim(
  node: NodeSnapshot,
  other: NodeSnapshot,
  { altName, sources }: { readonly altName: AltName; readonly sources: readonly Source[] },
): boolean {
  const isConfirmed = (claimant: NodeSnapshot): boolean =>
    sources.every((source) => source.judge(claimant, [altName]).kind === 'agrees');
  if (sources.length > 0 && !isConfirmed(node)) return false;
  if (sources.length > 0 && !isConfirmed(other)) return true;
  return node.createdAt < other.createdAt;
}

function sourceFinding(node: NodeSnapshot, { facts, altNames }: Question): Finding | undefined {
  for (const source of facts.sources) {
    const answer = source.judge(node, altNames);
    if (answer.kind === 'agrees') continue;
    const message = `the source ${source.name} does not confirm the SANs: ${answer.reason}`;
    return answer.kind === 'disagrees'
      ? hold('SourceDisagrees', message, `Correct the ${source.name} or the addresses of the node`)
      : hold('SourceUnavailable', message, answer.remedy);
  }
  return undefined;
}
