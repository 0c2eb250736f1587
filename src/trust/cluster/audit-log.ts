import { createReadStream } from 'node:fs';
import * as v from 'valibot';
import { AgentError } from '../../core/errors.ts';
import type { Instant } from '../../core/instant.ts';
import { printable } from '../../core/printable.ts';
import { shortFingerprint } from '../../core/trust.ts';
import type { ClientUse } from './gate.ts';

/** One client certificate in an audit log. */
interface SeenCertificate {
  readonly user: string;
  /** SHA-256 of the leaf, in lower-case hexadecimal. */
  readonly fingerprint: string;
  readonly firstSeen: Instant;
  lastSeen: Instant;
}

export interface AuditQuestion {
  readonly files: readonly string[];
  /** The first 16 digits of the SHA-256 hashes of certificates that the new CA issued. */
  readonly byNext: ReadonlySet<string>;
  /** Users whose current certificate the new CA issued, although its hash is unknown. */
  readonly reissued: ReadonlySet<string>;
}

/**
 * The clients in the audit logs of API servers that may not have a certificate from the new CA. An
 * audit log has only the hash of a certificate. For a node that has reported a new certificate, the
 * hash that appeared last belongs to it.
 * @throws AgentError CONFIG_UNREADABLE
 */
export async function readClientUse({
  files,
  byNext,
  reissued,
}: AuditQuestion): Promise<ClientUse | undefined> {
  if (files.length === 0) return undefined;
  const seen = new Map<string, SeenCertificate>();
  let from = Infinity;
  for (const file of files) {
    for await (const event of eventsOf(file)) {
      from = Math.min(from, event.at);
      note(seen, event);
    }
  }
  const all = [...seen.values()];
  const clients = all.filter(
    (one) =>
      !byNext.has(shortFingerprint(one.fingerprint)) &&
      !(reissued.has(one.user) && isNewest(one, all)),
  );
  return {
    from,
    clients: clients.map(({ user, fingerprint, lastSeen }) => ({
      user: `${user} (X509SHA256=${shortFingerprint(fingerprint)}…)`,
      lastSeen,
    })),
  };
}

function isNewest({ user, firstSeen }: SeenCertificate, all: readonly SeenCertificate[]): boolean {
  return all.every((other) => other.user !== user || other.firstSeen <= firstSeen);
}

interface CertificateUse {
  readonly user: string;
  /** Absent for other credentials than certificates. */
  readonly fingerprint?: string;
  readonly at: Instant;
}

function note(seen: Map<string, SeenCertificate>, { user, fingerprint, at }: CertificateUse): void {
  if (fingerprint === undefined) return;
  const key = `${fingerprint} ${user}`;
  const known = seen.get(key);
  if (known === undefined) seen.set(key, { user, fingerprint, firstSeen: at, lastSeen: at });
  else known.lastSeen = Math.max(known.lastSeen, at);
}

/** The fields of audit.k8s.io/v1 Event that matter here. */
const eventSchema = v.object({
  requestReceivedTimestamp: v.pipe(
    v.string(),
    v.transform((text) => Date.parse(text)),
    v.check((time) => !Number.isNaN(time)),
  ),
  user: v.object({
    username: v.nullish(v.string(), ''),
    extra: v.nullish(v.record(v.string(), v.nullish(v.array(v.string()), [])), {}),
  }),
});

const credentialKey = 'authentication.kubernetes.io/credential-id';

/** Skips a line that is not an event: the first line of a rotated log may be cut off. */
async function* eventsOf(file: string): AsyncGenerator<CertificateUse> {
  for await (const line of linesOf(file)) {
    const parsed = v.safeParse(eventSchema, parseJson(line));
    if (!parsed.success) continue;
    const { user, requestReceivedTimestamp: at } = parsed.output;
    const fingerprint = user.extra[credentialKey]
      ?.map((id) => /^X509SHA256=([\da-f]{64})$/.exec(id)?.[1])
      .find((hash) => hash !== undefined);
    const name = printable(user.username, 200);
    yield { user: name, at, ...(fingerprint !== undefined && { fingerprint }) };
  }
}

/** An event has the objects of its request at the level RequestResponse, up to a few MiB. */
const longestLine = 16 * 1024 * 1024;

async function* linesOf(file: string): AsyncGenerator<string> {
  let rest = '';
  try {
    for await (const chunk of createReadStream(file, { encoding: 'utf8' })) {
      const lines = (rest + String(chunk)).split('\n');
      rest = (lines.pop() ?? '').slice(0, longestLine);
      yield* lines;
    }
  } catch (error) {
    throw new AgentError('CONFIG_UNREADABLE', `the audit log ${file} cannot be read`, {
      cause: error,
      remedy: 'Name files that exist and that you may read: --audit-log FILE',
    });
  }
  yield rest;
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
