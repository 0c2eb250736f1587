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
  readonly reportedAt: Instant;
}

/** Sixteen CAs and two certificates have 0.7 kB. */
export const longestTrustAnnotation = 1_024;

/** The places name the CAs by their index in `cas`, because each CA may be in both places. */
export function formatTrustAnnotation({
  stage,
  places,
  leaf,
  readers,
  reportedAt,
}: TrustAnnotation): string {
  const { kubeconfig, clientCa } = places;
  const cas = [...new Set([...kubeconfig, ...clientCa])];
  const indexes = (place: readonly string[]): number[] => place.map((ca) => cas.indexOf(ca));
  const t = formatInstant(reportedAt);
  return JSON.stringify({
    v: 1,
    stage,
    cas,
    places: { kubeconfig: indexes(kubeconfig), clientCA: indexes(clientCa) },
    leaf,
    readers,
    t,
  });
}

/** Undefined for any other text: every program with the rights of the node can write the annotation. */
export function parseTrustAnnotation(text: string): TrustAnnotation | undefined {
  if (text.length > longestTrustAnnotation) return undefined;
  const { v, stage, cas, places, leaf, readers, t } = recordOf(parseJson(text));
  const known = trustStages.find((name) => name === stage);
  const reportedAt = typeof t === 'string' && timePattern.test(t) ? Date.parse(t) : Number.NaN;
  if (v !== 1 || known === undefined || Number.isNaN(reportedAt)) return undefined;
  if (readers !== 'ok' && readers !== 'pending') return undefined;
  if (!Array.isArray(cas) || !cas.every((ca) => isShortFingerprint(ca))) return undefined;
  const { kubeconfig, clientCA } = recordOf(places);
  const found = [kubeconfig, clientCA].map((indexes) => selected(cas, indexes));
  const [fromKubeconfig, fromClientCa] = found;
  const issuers = issuersOf(leaf);
  if (fromKubeconfig === undefined || fromClientCa === undefined || issuers === undefined) {
    return undefined;
  }
  return {
    stage: known,
    places: { kubeconfig: fromKubeconfig, clientCa: fromClientCa },
    leaf: issuers,
    readers,
    reportedAt,
  };
}

const timePattern = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{3})?Z$/;

function selected(cas: readonly string[], indexes: unknown): string[] | undefined {
  if (!Array.isArray(indexes)) return undefined;
  const chosen = indexes.map((index: unknown) =>
    typeof index === 'number' ? cas[index] : undefined,
  );
  return chosen.every((ca) => ca !== undefined) ? chosen : undefined;
}

function issuersOf(leaf: unknown): Record<string, string> | undefined {
  const entries = Object.entries(recordOf(leaf));
  const issuers = entries.filter(
    (entry): entry is [string, string] => entry[1] === '' || isShortFingerprint(entry[1]),
  );
  return issuers.length === entries.length ? Object.fromEntries(issuers) : undefined;
}

function isShortFingerprint(value: unknown): value is string {
  return typeof value === 'string' && /^[\da-f]{16}$/.test(value);
}

function recordOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? { ...value } : {};
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
