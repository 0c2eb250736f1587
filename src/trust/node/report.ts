import type { Instant } from '../../core/instant.ts';
import type { TrustAnnotation } from '../../core/trust-annotation.ts';
import { isSameAuthority } from '../../core/trust-bundle.ts';
import type {
  ReportedAuthority,
  ReportedLeaf,
  ReportedPlace,
  TrustFinding,
  TrustReport,
} from '../../core/trust-report.ts';
import { trustStage } from '../../core/trust-stage.ts';
import type { TrustAuthority } from '../../core/trust.ts';
import { shortFingerprint } from '../../core/trust.ts';
import { isBehind, issuerOf } from './issuer.ts';
import { kubeletTrust } from './kubelet-facts.ts';
import type { CurrentLeaf } from './leaves.ts';
import type { TrustPlace } from './place.ts';
import type { Reader } from './reader.ts';
import type { TrustSession } from './session.ts';
import { fingerprintsOf } from './session.ts';
import type { WantedTrust } from './wanted.ts';

/** What a run has found and done. */
export interface RunFacts {
  readonly wanted: WantedTrust;
  readonly reader: Reader;
  /** When nodecertd restarts the kubelet. */
  readonly restartAt?: number | undefined;
  readonly leaves: readonly CurrentLeaf[];
  /** The CA that the signer of each certificate uses, by the name of the certificate. */
  readonly issuers: ReadonlyMap<string, TrustAuthority>;
  /** By the fingerprint of a CA that the source lacks. */
  readonly keptBecause: ReadonlyMap<string, readonly string[]>;
  readonly findings: readonly TrustFinding[];
  readonly end: Pick<TrustReport, 'outcome' | 'refusal' | 'failure' | 'retryAfterSeconds'>;
}

export function reportOf(session: TrustSession, facts: RunFacts): TrustReport {
  const { wanted, reader, restartAt, issuers, findings, end } = facts;
  const { changedAt } = session.memory;
  const authorities = everyAuthority(session, wanted);
  const leaves = facts.leaves.map((leaf) => reportedLeaf(leaf, authorities, issuers));
  const issuer = kubeletIssuer(facts);
  const { state, since, unread } = reader;
  return {
    ...end,
    stage: trustStage({
      held: fingerprintsOf(session.trusted),
      isIncomplete: !session.hasEverywhere(wanted.authorities ?? []),
      unwanted: fingerprintsOf(session.unwanted(wanted)),
      isReaderPending: state === 'pending',
      leaves,
      issuer: issuer?.fingerprint,
    }),
    authorities: authorities.map((authority) => reportedAuthority(authority, session, facts)),
    places: session.found.places.map(reportedPlace),
    sources: wanted.sources,
    leaves,
    ...(issuer && { issuer: issuer.fingerprint }),
    reader: {
      state,
      ...(since !== undefined && { since }),
      ...(unread !== undefined && { unread }),
      ...(restartAt !== undefined && { restartAt }),
    },
    findings: [...session.found.findings, ...findings],
    ...(changedAt !== undefined && { changedAt }),
  };
}

/** Those of the kept places come first, in the order of their bundles. */
function everyAuthority(
  session: TrustSession,
  { authorities = [] }: WantedTrust,
): TrustAuthority[] {
  const { trusted, kept, found } = session;
  const bundles = [
    trusted,
    ...kept.map((place) => place.authorities),
    authorities,
    ...found.places.map((place) => place.authorities),
  ];
  const known = new Map<string, TrustAuthority>();
  for (const authority of bundles.flat()) {
    if (!known.has(authority.fingerprint)) known.set(authority.fingerprint, authority);
  }
  return [...known.values()];
}

function reportedAuthority(
  authority: TrustAuthority,
  { kept, memory }: TrustSession,
  { wanted, keptBecause }: RunFacts,
): ReportedAuthority {
  const { fingerprint, pin, subject, notAfter } = authority;
  const has = (list: readonly TrustAuthority[]): boolean =>
    list.some((other) => other.fingerprint === fingerprint);
  const missingSince = memory.missingSince[fingerprint];
  const reasons = keptBecause.get(fingerprint);
  return {
    fingerprint,
    pin,
    subject,
    notAfter,
    isHeld: kept.length > 0 && kept.every((place) => has(place.authorities)),
    isWanted: (wanted.authorities ?? []).some((other) => isSameAuthority(other, authority)),
    ...(missingSince !== undefined && { missingSince }),
    ...(reasons !== undefined && { keptBecause: reasons }),
  };
}

function reportedPlace({
  kind,
  path,
  file,
  isKept,
  authorities,
  problem,
}: TrustPlace): ReportedPlace {
  return {
    kind,
    path,
    ...(file !== undefined && { file }),
    isKept,
    authorities: fingerprintsOf(authorities),
    ...(problem !== undefined && { problem: problem.message }),
  };
}

function reportedLeaf(
  { spec: { name }, path, pem }: CurrentLeaf,
  authorities: readonly TrustAuthority[],
  issuers: RunFacts['issuers'],
): ReportedLeaf {
  const issuer = issuerOf(pem, authorities);
  const isLate = isBehind(issuer, issuers.get(name));
  return { name, path, isBehind: isLate, ...(issuer && { issuer: issuer.fingerprint }) };
}

/** The signer of the kubelet's client certificate stands for all of them. */
function kubeletIssuer({ leaves, issuers }: RunFacts): TrustAuthority | undefined {
  const found = leaves.find(({ spec }) => spec.profile === 'kubelet-client') ?? leaves[0];
  return found && issuers.get(found.spec.name);
}

/** The names of the kubelet's certificates in the annotation; the configuration may use others. */
const leafNames = {
  'kubelet-client': 'kubelet-client',
  'kubelet-serving': 'kubelet-server',
} as const;

export function annotationOf(
  session: TrustSession,
  report: TrustReport,
  current: {
    readonly leaves: readonly CurrentLeaf[];
    readonly clientReadAt?: Instant | undefined;
  },
): TrustAnnotation {
  const { kubeconfig, clientCa = kubeconfig } = kubeletTrust(session.found.places);
  const { clientReadAt } = current;
  const { state, unread } = report.reader;
  const leaves = current.leaves.flatMap(({ spec: { name, profile } }) => {
    if (profile === 'custom') return [];
    const issuer = report.leaves.find((leaf) => leaf.name === name)?.issuer ?? '';
    return [[leafNames[profile], shortFingerprint(issuer)]];
  });
  return {
    stage: report.stage,
    places: {
      kubeconfig: fingerprintsOf(kubeconfig?.authorities ?? []).map(shortFingerprint),
      // A kubelet without clientCAFile accepts no certificate, so it lacks no CA either.
      clientCa: fingerprintsOf(clientCa?.authorities ?? []).map(shortFingerprint),
    },
    leaf: Object.fromEntries(leaves),
    readers: state === 'current' ? 'ok' : 'pending',
    ...(unread !== undefined && { unread: unread.map(shortFingerprint) }),
    ...(clientReadAt !== undefined && { clientReadAt }),
    reportedAt: session.now,
  };
}
