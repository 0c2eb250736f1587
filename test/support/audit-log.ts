import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { AuditedRequest } from './control-plane.ts';
import { scaled } from './machine-speed.ts';

/**
 * Logs the metadata of every request when it arrives and when it is answered, except
 * those of the control plane's own components and of the test's set-up.
 */
export const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
rules:
- level: None
  users: ['system:apiserver', 'system:kube-controller-manager', 'system:anonymous']
- level: None
  userGroups: ['system:serviceaccounts:kube-system']
- level: None
  nonResourceURLs: ['/readyz']
- level: None
  userGroups: ['system:bootstrappers']
  resources: [{ group: authentication.k8s.io, resources: [selfsubjectreviews] }]
- level: Metadata
`;

/** The used fields of k8s.io/apiserver/pkg/apis/audit/v1 Event. */
interface AuditEvent {
  readonly auditID: string;
  readonly stage: 'RequestReceived' | 'ResponseStarted' | 'ResponseComplete' | 'Panic';
  readonly verb: string;
  readonly user: {
    /** Absent after a failed authentication. */
    readonly username?: string;
    readonly extra?: Readonly<Record<string, readonly string[]>>;
  };
  readonly userAgent?: string;
  readonly objectRef?: {
    readonly resource?: string;
    readonly subresource?: string;
    readonly name?: string;
  };
  readonly responseStatus?: { readonly code?: number };
  readonly requestReceivedTimestamp: string;
}

export interface TimedRequest extends AuditedRequest {
  /** Milliseconds since the epoch, with fractions. */
  readonly receivedAt: number;
  readonly userAgent: string;
  /** The SHA-256 fingerprint of the client certificate, as hex digits. */
  readonly fingerprint?: string;
  /** The claim `jti` of the token of a service account. */
  readonly tokenId?: string;
}

/**
 * Returns the requests of one run of the API server in order of arrival. The API server
 * logs each request on arrival, and again shortly after the client has its response.
 * This function waits for the second line of each request unless the log is `closed`,
 * so that no completed request is missing.
 */
export async function readAuditLog(
  file: string,
  log: 'open' | 'closed' = 'open',
): Promise<TimedRequest[]> {
  const deadline = Date.now() + scaled(2_000);
  for (;;) {
    const requests = latestById(await readEvents(file));
    const unanswered = requests.some(({ stage }) => stage === 'RequestReceived');
    if (!unanswered || log === 'closed' || Date.now() > deadline) {
      return requests.filter(({ stage }) => stage !== 'RequestReceived').map(toRequest);
    }
    await delay(10);
  }
}

async function readEvents(file: string): Promise<AuditEvent[]> {
  if (!existsSync(file)) return [];
  const lines = (await readFile(file, 'utf8')).split('\n');
  // The text after the last newline is empty or incomplete.
  return lines.slice(0, -1).map((line) => JSON.parse(line) as AuditEvent);
}

function latestById(events: readonly AuditEvent[]): AuditEvent[] {
  const latest = new Map<string, AuditEvent>();
  for (const event of events) latest.set(event.auditID, event);
  return [...latest.values()];
}

function toRequest(event: AuditEvent): TimedRequest {
  const { resource = '', subresource, name } = event.objectRef ?? {};
  const { username = '', extra } = event.user;
  const [credential] = extra?.['authentication.kubernetes.io/credential-id'] ?? [];
  const fingerprint = /^X509SHA256=(?<digest>[\da-f]+)$/.exec(credential ?? '')?.groups?.['digest'];
  const [, tokenId] = /^JTI=(.+)$/.exec(credential ?? '') ?? [];
  return {
    user: username,
    verb: event.verb,
    resource: subresource === undefined ? resource : `${resource}/${subresource}`,
    name,
    code: event.responseStatus?.code ?? 0,
    receivedAt: parseMicroTime(event.requestReceivedTimestamp),
    userAgent: event.userAgent ?? '',
    ...(fingerprint !== undefined && { fingerprint }),
    ...(tokenId !== undefined && { tokenId }),
  };
}

/** `2026-01-01T00:00:00.123456Z`: Date would drop the microseconds. */
function parseMicroTime(text: string): number {
  const seconds = Date.parse(text.replace(/\.\d+Z$/, 'Z'));
  return seconds + Number(`0${/\.\d+/.exec(text)?.[0] ?? ''}`) * 1_000;
}
