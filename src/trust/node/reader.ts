import type { Instant } from '../../core/instant.ts';
import { minute } from '../../core/instant.ts';
import type { TrustReaderState } from '../../core/trust.ts';
import { without } from '../../core/without.ts';
import type { RunningKubelet } from '../../kubelet/running.ts';

/** The kubelet reads CAs from the cluster of its kubeconfig, and from clientCAFile. */
const readFiles = ['kubeconfig', 'clientCA'] as const;
export type ReadFile = (typeof readFiles)[number];

/** Fingerprints. */
type Authorities = Readonly<Record<ReadFile, readonly string[]>>;

/** What the running kubelet has certainly read. Kept in the state file. */
export interface ReaderMemory {
  readonly instance: string;
  readonly read: Authorities;
  /** The CA file that the kubeconfig named when the kubelet started. Absent if it embedded the CAs. */
  readonly file?: string;
  /** The kubelet rotated its client certificate itself when it started. */
  readonly rotates: boolean;
  /** As in `v1.37.2`. Absent until the API server has told it. */
  readonly version?: string;
  /** The time of the change that the kubelet may not have read. */
  readonly changedAt?: Instant;
}

export interface ReaderFacts {
  readonly kubelet: RunningKubelet;
  /** As in `v1.37.2`. Absent if this run has not read the Node. */
  readonly version?: string | undefined;
  /** The CAs in the files now. */
  readonly authorities: Authorities;
  /** The CA file that the kubeconfig names. */
  readonly file?: string | undefined;
  readonly rotates: boolean;
  /** The last change of the kubeconfig. */
  readonly kubeconfigModifiedAt: Instant;
  /** The last change of any of the files. */
  readonly modifiedAt: Instant;
  readonly now: Instant;
}

export interface Reader {
  readonly state: TrustReaderState;
  /** The time of the change of the files that the kubelet may not use. */
  readonly since?: Instant;
  /** The kubelet reads the files again by itself, and has done so at this time. */
  readonly readAt?: Instant;
  /** The fingerprints of the CAs that the kubelet may not have loaded. */
  readonly unread?: readonly string[];
  /** Absent if there is no kubelet to remember. */
  readonly memory?: ReaderMemory;
}

/**
 * client-go 1.36 reads a CA file of a kubeconfig every five minutes, unless the kubelet rotates its
 * client certificate: then it replaces the dialer of client-go. The kubelet 1.36 reads
 * clientCAFile within a minute.
 */
const reloadMs = 6 * minute;

/** Finds out whether the running kubelet uses the CAs that are in its files. */
export function readerOf(memory: ReaderMemory | undefined, facts: ReaderFacts): Reader {
  const { kubelet, now } = facts;
  if (kubelet.kind === 'unknown') return { state: 'unknown' };
  // The next start reads the files.
  if (kubelet.kind === 'stopped') return { state: 'current' };
  const known = withVersion(
    memory?.instance === kubelet.instance ? memory : startedWith(kubelet, facts, memory),
    facts,
  );
  const unread = readFiles.map((name) => notIn(known.read[name], facts.authorities[name]));
  const missing = readFiles.filter((_, at) => (unread[at] ?? []).length > 0);
  if (missing.length === 0) {
    return {
      state: 'current',
      memory: without({ ...known, read: stillRead(known, facts) }, 'changedAt'),
    };
  }
  // A time in the future is from before the clock was set back.
  const changedAt = Math.min(known.changedAt ?? now, now);
  const readAt = changedAt + reloadMs;
  const reloads = missing.every((name) => isReloaded(name, known, facts));
  if (reloads && now >= readAt) {
    return {
      state: 'current',
      memory: without({ ...known, read: facts.authorities }, 'changedAt'),
    };
  }
  const pending = {
    state: 'pending',
    since: changedAt,
    unread: [...new Set(unread.flat())],
    memory: { ...known, changedAt },
  } as const;
  return reloads ? { ...pending, readAt } : pending;
}

/**
 * When the kubelet certainly uses the client certificate that was stored at this time. client-go reads the
 * files of a kubeconfig every five minutes (transport/cert_rotation.go), and a kubelet that rotates its
 * certificate uses it at once. Undefined if it has started since. The time stays the same when it is over,
 * so that the report of the node does not change then.
 */
export function clientReadAt(
  storedAt: Instant,
  { kubelet, rotates }: Pick<ReaderFacts, 'kubelet' | 'rotates'>,
): Instant | undefined {
  if (rotates || kubelet.kind === 'stopped') return undefined;
  if (kubelet.kind === 'running' && storedAt < kubelet.startedAt) return undefined;
  return storedAt + reloadMs;
}

function withVersion(memory: ReaderMemory, { version }: ReaderFacts): ReaderMemory {
  return version === undefined ? memory : { ...memory, version };
}

/** What a kubelet read when it started, as far as its files have not changed since. */
function startedWith(
  { instance, startedAt }: Extract<RunningKubelet, { readonly kind: 'running' }>,
  facts: ReaderFacts,
  previous: ReaderMemory | undefined,
): ReaderMemory {
  const { authorities, rotates, modifiedAt, kubeconfigModifiedAt, now } = facts;
  const file = kubeconfigModifiedAt < startedAt ? facts.file : previous?.file;
  const common = { instance, rotates, ...(file !== undefined && { file }) };
  if (modifiedAt < startedAt) return { ...common, read: authorities };
  // A kubelet that bootstraps writes its kubeconfig after its start, with the CAs that it uses.
  const read = previous?.read ?? onlyOf(authorities);
  return { ...common, read, changedAt: Math.min(modifiedAt, now) };
}

/** If a file has one CA, that CA works now. If it has several, the kubelet may lack any of them. */
function onlyOf({ kubeconfig, clientCA }: Authorities): Authorities {
  return {
    kubeconfig: kubeconfig.length === 1 ? kubeconfig : [],
    clientCA: clientCA.length === 1 ? clientCA : [],
  };
}

/** After a CA has left a file that the kubelet reads again, the kubelet may not have the CA either. */
function stillRead(known: ReaderMemory, facts: ReaderFacts): Authorities {
  const still = (name: ReadFile): readonly string[] =>
    isReloaded(name, known, facts) ? facts.authorities[name] : known.read[name];
  return { kubeconfig: still('kubeconfig'), clientCA: still('clientCA') };
}

function notIn(known: readonly string[], wanted: readonly string[]): string[] {
  return wanted.filter((fingerprint) => !known.includes(fingerprint));
}

function isReloaded(name: ReadFile, known: ReaderMemory, { file }: ReaderFacts): boolean {
  if (!isReloading(known.version)) return false;
  return name === 'clientCA' || (known.file !== undefined && known.file === file && !known.rotates);
}

function isReloading(version = ''): boolean {
  const [, major = 0, minor = 0] = (/^v(\d+)\.(\d+)/.exec(version) ?? []).map(Number);
  return major > 1 || (major === 1 && minor >= 36);
}
