import { X509Certificate } from 'node:crypto';
import type { Instant } from '../../core/instant.ts';
import { minute } from '../../core/instant.ts';
import { signerSearchInterval } from '../../core/timing.ts';
import type { TrustAuthority } from '../../core/trust.ts';
import { without } from '../../core/without.ts';
import type { KubeClient } from '../../kube/rest-client.ts';
import { issuerOf, issuingAuthority } from './issuer.ts';
import type { CurrentLeaf } from './leaves.ts';
import type { RunResult } from './run-result.ts';
import { failureOf } from './run-result.ts';
import type { TrustSession } from './session.ts';
import type { KnownSigners } from './trust-memory.ts';

/** The CA that the signer of each certificate uses now, by the name of the certificate. */
type Issuers = ReadonlyMap<string, TrustAuthority>;

/**
 * Asks the API server only while this node trusts several CAs. Unattended runs do so every half an
 * hour, because each search lists CSRs.
 */
export async function findIssuers(
  session: TrustSession,
  {
    leaves,
    client,
    result,
    mayUseMemory,
  }: {
    readonly leaves: readonly CurrentLeaf[];
    /** Absent if the API server does not answer. */
    readonly client: KubeClient | undefined;
    readonly result: RunResult;
    /** Whether the result of a recent run is enough. */
    readonly mayUseMemory: boolean;
  },
): Promise<Issuers> {
  if (leaves.length === 0) return new Map();
  const { signers: known } = session.memory;
  // While the API server does not answer, the CA of the last search counts.
  const last = known === undefined ? new Map() : remembered(session, leaves, known);
  if (client === undefined) return last;
  if (mayUseMemory && known !== undefined && isRecent(known, session.now)) return last;
  try {
    const found = await search(session, leaves, client);
    session.memory = { ...without(session.memory, 'signers'), ...memoryOf(session, leaves, found) };
    return found;
  } catch (error) {
    result.wait(failureOf(error));
    return last;
  }
}

function isRecent({ at }: KnownSigners, now: Instant): boolean {
  return now >= at && now - at < signerSearchInterval;
}

async function search(
  session: TrustSession,
  leaves: readonly CurrentLeaf[],
  client: KubeClient,
): Promise<Issuers> {
  const { config, signal } = session.request;
  const { issuer: configured } = config.trust;
  const { trusted: authorities } = session;
  const served = async (): Promise<readonly (readonly X509Certificate[])[]> => {
    const dialed = await session.dial(authorities);
    return dialed.flatMap((server) => (server.kind === 'verified' ? [server.chain] : []));
  };
  const known = configured !== undefined && { configured };
  const common = { authorities, served, client, signal, ...known };
  const issuers = new Map<string, TrustAuthority>();
  for (const { spec, pem: leaf } of leaves) {
    const { name, signerName } = spec;
    const issuer = await issuingAuthority({ ...common, signerName, leaf });
    if (issuer !== undefined) issuers.set(name, issuer);
  }
  return issuers;
}

/** With one CA, or with the CA of the configuration, the certificates of this node are enough. */
function needsServer({ trusted, request }: TrustSession): boolean {
  const keys = new Set(trusted.map(({ pin }) => pin));
  return keys.size > 1 && request.config.trust.issuer === undefined;
}

function memoryOf(
  session: TrustSession,
  leaves: readonly CurrentLeaf[],
  issuers: Issuers,
): { readonly signers?: KnownSigners } {
  if (!needsServer(session)) return {};
  const authorities = leaves.flatMap(({ spec: { name, signerName } }) => {
    const issuer = issuers.get(name);
    return issuer === undefined ? [] : [[signerName, issuer.fingerprint]];
  });
  return { signers: { at: session.now, authorities: Object.fromEntries(authorities) } };
}

function remembered(
  { trusted }: TrustSession,
  leaves: readonly CurrentLeaf[],
  { at, authorities }: KnownSigners,
): Issuers {
  return new Map(
    leaves.flatMap(({ spec: { name, signerName }, pem }) => {
      // A certificate of this node that is newer than the search shows the CA of its signer, too.
      const issuer = isNewer(pem, at)
        ? issuerOf(pem, trusted)
        : trusted.find(({ fingerprint }) => fingerprint === authorities[signerName]);
      return issuer === undefined ? [] : [[name, issuer]];
    }),
  );
}

/** The signers of Kubernetes backdate certificates by five minutes. */
function isNewer(pem: Uint8Array, at: Instant): boolean {
  return new X509Certificate(pem).validFromDate.getTime() > at - 5 * minute;
}
