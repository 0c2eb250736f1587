import { describeError, hasCode } from '../../core/errors.ts';
import { second } from '../../core/instant.ts';
import { isSameAuthority } from '../../core/trust-bundle.ts';
import { reasonsToKeep } from '../../core/trust-drop.ts';
import type { TrustAuthority, TrustReaderState } from '../../core/trust.ts';
import { applyTrust } from './apply.ts';
import { issuerOf } from './issuer.ts';
import { currentLeaves, otherLeaves } from './leaves.ts';
import type { DialedServer } from './servers.ts';
import type { TrustSession } from './session.ts';

/** What the session has found out about the sources, the kubelet and the clock. */
export interface DropCircumstances {
  readonly isSourceRead: boolean;
  readonly reader: TrustReaderState;
  readonly isClockTrusted: boolean;
}

/**
 * Why this node still needs a CA; empty if the CA can be dropped. Connects to the API servers only
 * if no other reason is left.
 */
export async function reasonsAgainstDrop(
  session: TrustSession,
  authority: TrustAuthority,
  circumstances: DropCircumstances,
): Promise<string[]> {
  const { config } = session.request;
  const { now, memory } = session;
  const rest = session.trusted.filter((other) => !isSameAuthority(other, authority));
  const facts = {
    ...circumstances,
    now,
    notAfter: authority.notAfter,
    otherAuthorities: rest.filter((other) => other.notBefore <= now && now < other.notAfter).length,
    missingSince: memory.missingSince[authority.fingerprint],
    dropAfterMs: config.trust.dropAfterSeconds * second,
    leaves: await leavesBy(session, authority),
  };
  const reasons = reasonsToKeep({ ...facts, unverified: [] });
  if (reasons.length > 0) return reasons;
  return reasonsToKeep({ ...facts, unverified: await unverifiedBy(session, rest) });
}

/** The files with certificates that the key of the CA has signed. */
async function leavesBy(session: TrustSession, authority: TrustAuthority): Promise<string[]> {
  const { config, clock } = session.request;
  const leaves = [
    ...(await currentLeaves(config)),
    ...(await otherLeaves(config, session.found.places, clock)),
  ];
  const issued = leaves.filter(({ pem }) => issuerOf(pem, [authority]) !== undefined);
  const paths = issued.map(({ path }) => path);
  return [...new Set(paths)];
}

/** Why the CAs do not verify each API server of the kept kubeconfigs. */
async function unverifiedBy(
  session: TrustSession,
  rest: readonly TrustAuthority[],
): Promise<string[]> {
  const kubeconfigs = session.kept.filter(({ kind }) => kind.endsWith('kubeconfig'));
  const found = await Promise.all(
    kubeconfigs.map(async ({ path }) => {
      try {
        return (await session.dialFrom(path, rest)).flatMap(unverifiedReason);
      } catch (error) {
        if (hasCode(error, 'ABORTED')) throw error;
        return [`${path} cannot be used: ${describeError(error)}`];
      }
    }),
  );
  return [...new Set(found.flat())];
}

function unverifiedReason(server: DialedServer): string[] {
  switch (server.kind) {
    case 'verified':
      return [];
    case 'unverified':
      return [
        `without it, this node does not trust the API server at ${server.address} (${server.code})`,
      ];
    case 'unreachable':
      return [`the API server at ${server.address} does not answer: ${server.failure.message}`];
    default:
      return server satisfies never;
  }
}

/**
 * Removes a CA from every kept place, after copies of the files.
 * @param verify checks the API servers with the other CAs
 * @throws AgentError STORE_*, FILE_CHANGED, and the errors of `verify`
 */
export async function dropAuthority(
  session: TrustSession,
  authority: TrustAuthority,
  verify: () => Promise<void>,
): Promise<void> {
  const changes = session.changes((held) => {
    const rest = held.filter((other) => !isSameAuthority(other, authority));
    // A program that finds no CA in its file trusts none, or those of the system.
    return rest.length === 0 ? held : rest;
  });
  await applyTrust(session.files, { changes, verify });
  session.memory = { ...session.memory, changedAt: session.now };
  await session.refresh();
}
