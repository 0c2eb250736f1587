import { AgentError } from '../../core/errors.ts';
import { formatInstant } from '../../core/instant.ts';
import { unionOf } from '../../core/trust-bundle.ts';
import type { TrustAuthority } from '../../core/trust.ts';
import { shortFingerprint } from '../../core/trust.ts';
import { bindRole, holds } from './gates/verdict.ts';
import { withoutMonth } from './authority-name.ts';
import type { RolloverAuthorities } from './gate.ts';
import type { ClusterNode, ClusterState, PublishedCas, Reading } from './state.ts';

/** The CAs that the administrator named, by the first digits of their fingerprints. */
export interface NamedAuthorities {
  readonly old?: string;
  readonly next?: string;
}

/**
 * The old and the new CA of the cluster. Without names, the CA that was created later is the new one.
 * @throws AgentError USAGE if names are needed, or fit no CA, or servers and clients have different
 *   CAs; API_FORBIDDEN if the credential sees no CA
 */
export function rolloverAuthorities(
  state: ClusterState,
  named: NamedAuthorities = {},
): RolloverAuthorities {
  const found = foundAuthorities(state, named);
  requireOneAuthority(found, state);
  return found;
}

function foundAuthorities(state: ClusterState, named: NamedAuthorities): RolloverAuthorities {
  const all = unionOf([], allAuthorities(state));
  if (all.length === 0) requirePermission(state);
  if (named.old !== undefined || named.next !== undefined) return chosen(all, named);
  const current = publishedAuthorities(state).filter(({ isSelfSigned }) => isSelfSigned);
  const related = all.filter(
    (authority) => authority.isSelfSigned && isRelated(authority, current, state),
  );
  const [first, second] = related.toSorted((a, b) => a.notBefore - b.notBefore);
  const isClear = second === undefined || first?.notBefore !== second.notBefore;
  if (first === undefined || related.length > 2 || !isClear) throw unclear(all, related);
  return second === undefined ? { old: first } : { old: first, next: second };
}

/**
 * In k3s and others, one CA issues the certificates of servers, and another one those of clients. Then
 * G1 and G7 would never open, because they expect both from one CA.
 */
function requireOneAuthority({ old, next }: RolloverAuthorities, state: ClusterState): void {
  const servers = publishedAuthorities(state);
  const clients = unionOf([], clientAuthorities(state));
  const isPart = (all: readonly TrustAuthority[]): boolean =>
    all.length === 0 || holds(all, old) || (next !== undefined && holds(all, next));
  if (isPart(servers) && isPart(clients)) return;
  throw new AgentError(
    'USAGE',
    `the CAs of servers (${listed(servers)}) are not those of clients (${listed(clients)}): ca-rollover supports only a cluster in which one CA issues the certificates of both`,
    {
      remedy:
        'Replace these CAs with the commands of the distribution, such as: k3s certificate rotate-ca',
    },
  );
}

function requirePermission({ rootCas, trustBundles, clusterInfo }: ClusterState): void {
  const forbidden = [rootCas, trustBundles, clusterInfo].find(
    (reading) => reading.outcome === 'forbidden',
  );
  if (forbidden?.outcome !== 'forbidden') return;
  throw new AgentError(
    'API_FORBIDDEN',
    `cannot see the CAs of the cluster: ${forbidden.failure.message}`,
    { remedy: bindRole },
  );
}

type PublishingObjects = Pick<ClusterState, 'rootCas' | 'trustBundles' | 'clusterInfo'>;

/** What servers are verified with. */
export function publishedAuthorities(state: PublishingObjects): TrustAuthority[] {
  return unionOf([], published(state));
}

function published({ rootCas, trustBundles, clusterInfo }: PublishingObjects): TrustAuthority[] {
  return [
    ...[...valuesOf(trustBundles), ...valuesOf(rootCas)].flatMap(({ authorities }) => authorities),
    ...(clusterInfo.outcome === 'read' ? clusterInfo.value.authorities : []),
  ];
}

function valuesOf(reading: Reading<ReadonlyMap<string, PublishedCas>>): PublishedCas[] {
  // Most namespaces share one bundle.
  const bundles = reading.outcome === 'read' ? [...reading.value.values()] : [];
  return [...new Map(bundles.map((bundle) => [bundle.authorities, bundle])).values()];
}

function allAuthorities(state: ClusterState): TrustAuthority[] {
  return [...published(state), ...clientAuthorities(state)];
}

function clientAuthorities({ extensionAuthentication: found }: ClusterState): TrustAuthority[] {
  return found.outcome === 'read' ? [...found.value.authorities] : [];
}

/**
 * API servers may authenticate clients with CAs that are not part of a rollover. A new CA that is
 * not published yet, or an old CA that is no longer published, has a similar name or is on a node.
 */
function isRelated(
  authority: TrustAuthority,
  current: readonly TrustAuthority[],
  { nodes }: ClusterState,
): boolean {
  if (current.includes(authority)) return true;
  const found = nodes.outcome === 'read' ? nodes.value : [];
  return (
    current.some(({ subject }) => haveSimilarNames(subject, authority.subject)) ||
    found.some((node) => hasAuthority(node, authority))
  );
}

/** As in `CN=kubernetes` and `CN=kubernetes-2026-11`, or in two names that differ in the month. */
function haveSimilarNames(a: string, b: string): boolean {
  const [first, second] = [withoutMonth(a), withoutMonth(b)];
  return first.startsWith(second) || second.startsWith(first);
}

function hasAuthority({ report }: ClusterNode, { fingerprint }: TrustAuthority): boolean {
  if (report === undefined || report === 'malformed') return false;
  return report.places.kubeconfig.some((digits) => fingerprint.startsWith(digits));
}

function chosen(
  all: readonly TrustAuthority[],
  { old, next }: NamedAuthorities,
): RolloverAuthorities {
  const [only, second] = all;
  // After the last `finish`, the old CA is gone, and an administrator may still name both.
  if (only !== undefined && second === undefined && next !== undefined) {
    return { old: find(all, next) };
  }
  const one = find(all, old ?? next ?? '');
  const others = all.filter((authority) => authority !== one);
  const other = old === undefined || next === undefined ? onlyOne(others, all) : find(all, next);
  if (other === one) throw unclear(all, [one, other]);
  if (old === undefined && other !== undefined) return { old: other, next: one };
  return other === undefined ? { old: one } : { old: one, next: other };
}

function onlyOne(
  others: readonly TrustAuthority[],
  all: readonly TrustAuthority[],
): TrustAuthority | undefined {
  if (others.length > 1) throw unclear(all, all);
  return others[0];
}

function find(all: readonly TrustAuthority[], digits: string): TrustAuthority {
  const wanted = digits.toLowerCase();
  const found = all.filter(({ fingerprint }) => fingerprint.startsWith(wanted));
  const [authority] = found;
  if (authority === undefined || found.length > 1) {
    throw new AgentError(
      'USAGE',
      `${found.length} CAs of the cluster have a fingerprint that begins with ${wanted}; it has ${listed(all)}`,
      { remedy: usage },
    );
  }
  return authority;
}

const usage =
  'Name the old and the new CA by the first digits of their fingerprints: --old FINGERPRINT --new FINGERPRINT';

function unclear(
  all: readonly TrustAuthority[],
  candidates: readonly TrustAuthority[],
): AgentError {
  const found =
    candidates.length === 0
      ? `no self-signed CA among ${listed(all)}`
      : `${candidates.length} CAs: ${listed(candidates)}`;
  return new AgentError(
    'USAGE',
    `cannot tell the old from the new CA, because the cluster has ${found}`,
    { remedy: usage },
  );
}

function listed(authorities: readonly TrustAuthority[]): string {
  const texts = authorities.map(
    ({ fingerprint, subject, notBefore }) =>
      `${shortFingerprint(fingerprint)} (${subject}, valid from ${formatInstant(notBefore)})`,
  );
  return texts.join(', ') || 'none';
}
