import {
  isShortFingerprint,
  parseRecord,
  recordOf,
  selected,
  shortFingerprintsIn,
  timeIn,
} from './annotation-json.ts';
import type { Instant } from './instant.ts';
import { formatInstant } from './instant.ts';
import type { TrustStage } from './trust.ts';
import { trustStages } from './trust.ts';

/** The annotation by which a node reports its trust on its own Node object. */
export const trustAnnotationKey = 'nodecertd.io/trust';

/** What `ca-rollover` needs to know of a node. CAs are short fingerprints. */
export interface TrustAnnotation {
  readonly stage: TrustStage;
  readonly places: {
    readonly kubeconfig: readonly string[];
    readonly clientCa: readonly string[];
  };
  /** The issuer of each certificate, by the name of the certificate; empty for an unknown one. */
  readonly leaf: Readonly<Record<string, string>>;
  /** Whether the running kubelet uses the CAs of its files. */
  readonly readers: 'ok' | 'pending';
  /** The CAs that it may not have loaded. Absent if there are none, or nodecertd does not see the kubelet. */
  readonly unread?: readonly string[];
  /** When the kubelet certainly uses its client certificate. Absent if it has started since. */
  readonly clientReadAt?: Instant;
  readonly reportedAt: Instant;
}

/** The longest annotation. Sixteen CAs and two certificates have 0.7 kB. */
export const longestTrustAnnotation = 1_024;

/** The places name the CAs by their index in `cas`, because each CA may be in both places. */
export function formatTrustAnnotation({
  stage,
  places,
  leaf,
  readers,
  unread,
  clientReadAt,
  reportedAt,
}: TrustAnnotation): string {
  const { kubeconfig, clientCa } = places;
  const cas = [...new Set([...kubeconfig, ...clientCa, ...(unread ?? [])])];
  const indexes = (place: readonly string[]): number[] => place.map((ca) => cas.indexOf(ca));
  const t = formatInstant(reportedAt);
  return JSON.stringify({
    v: 1,
    stage,
    cas,
    places: { kubeconfig: indexes(kubeconfig), clientCA: indexes(clientCa) },
    leaf,
    readers,
    ...(unread !== undefined && { unread: indexes(unread) }),
    ...(clientReadAt !== undefined && { clientReadAt: formatInstant(clientReadAt) }),
    t,
  });
}

/** Undefined for any other text: every program with the rights of the node can write the annotation. */
export function parseTrustAnnotation(text: string): TrustAnnotation | undefined {
  if (text.length > longestTrustAnnotation) return undefined;
  const record = parseRecord(text);
  const { v, stage, cas: listed, places, leaf, readers, clientReadAt, t } = record;
  const known = trustStages.find((name) => name === stage);
  const [cas, reportedAt] = [shortFingerprintsIn(listed), timeIn(t)];
  const readAt = timeIn(clientReadAt);
  if (v !== 1 || known === undefined || reportedAt === undefined) return undefined;
  if (readers !== 'ok' && readers !== 'pending') return undefined;
  if (cas === undefined || (clientReadAt !== undefined && readAt === undefined)) return undefined;
  const { kubeconfig, clientCA } = recordOf(places);
  const lists = [kubeconfig, clientCA, record['unread'] ?? []];
  const [fromKubeconfig, fromClientCa, unread] = lists.map((indexes) => selected(cas, indexes));
  const issuers = issuersOf(leaf);
  if (fromKubeconfig === undefined || fromClientCa === undefined) return undefined;
  if (unread === undefined || issuers === undefined) return undefined;
  return {
    stage: known,
    places: { kubeconfig: fromKubeconfig, clientCa: fromClientCa },
    leaf: issuers,
    readers,
    ...(unread.length > 0 && { unread }),
    ...(readAt !== undefined && { clientReadAt: readAt }),
    reportedAt,
  };
}

function issuersOf(leaf: unknown): Record<string, string> | undefined {
  const entries = Object.entries(recordOf(leaf));
  const issuers = entries.filter(
    (entry): entry is [string, string] => entry[1] === '' || isShortFingerprint(entry[1]),
  );
  return issuers.length === entries.length ? Object.fromEntries(issuers) : undefined;
}
