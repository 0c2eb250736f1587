import { formatInstant } from '../../core/instant.ts';
import type { TrustFinding } from '../../core/trust-report.ts';
import type { TrustAuthority } from '../../core/trust.ts';
import { authorityName, shortFingerprint } from '../../core/trust.ts';
import type { DropCircumstances } from './drop.ts';
import { dropAuthority, reasonsAgainstDrop } from './drop.ts';
import type { RunResult } from './run-result.ts';
import { failureOf } from './run-result.ts';
import type { TrustSession } from './session.ts';
import type { WantedTrust } from './wanted.ts';

interface Run {
  readonly session: TrustSession;
  readonly result: RunResult;
  readonly wanted: WantedTrust;
  readonly circumstances: DropCircumstances;
}

/**
 * Drops the CAs that nothing needs, one after the other, if the configuration says so.
 * @returns why each of the others stays, by its fingerprint
 */
export async function dropUnneeded(run: Run): Promise<Map<string, readonly string[]>> {
  const { session, result, circumstances } = run;
  const kept = new Map<string, readonly string[]>();
  for (const authority of candidates(run)) {
    const reasons = await reasonsAgainstDrop(session, authority, circumstances);
    if (reasons.length === 0 && (await dropIfAllowed(run, authority))) continue;
    kept.set(authority.fingerprint, reasons);
    result.findings.push(keptFinding(authority, reasons));
  }
  return kept;
}

/** The CAs that the source lacks, and those that have expired. */
function candidates({ session, wanted }: Run): TrustAuthority[] {
  const unwanted = new Set(session.unwanted(wanted));
  return session.trusted.filter(
    (authority) => unwanted.has(authority) || session.now >= authority.notAfter,
  );
}

async function dropIfAllowed(
  { session, result }: Run,
  authority: TrustAuthority,
): Promise<boolean> {
  if (session.request.config.trust.drop !== 'auto' || result.isFailed) return false;
  try {
    await dropAuthority(session, authority, () => session.verify());
    result.isChanged = true;
    return true;
  } catch (error) {
    result.fail(failureOf(error));
    await session.refresh();
    return false;
  }
}

function keptFinding(authority: TrustAuthority, reasons: readonly string[]): TrustFinding {
  const { fingerprint, notAfter } = authority;
  const what = `the CA ${authorityName(authority)}, which expires at ${formatInstant(notAfter)},`;
  if (reasons.length > 0) {
    return {
      id: 'ca_kept',
      message: `${what} cannot be dropped yet: ${reasons.join('; ')}`,
      remedy: 'Do nothing, unless a reason lasts for longer than trust.dropAfter',
    };
  }
  return {
    id: 'ca_droppable',
    message: `${what} is no longer needed`,
    remedy: `Drop it: nodecertd trust drop ${shortFingerprint(fingerprint)}`,
  };
}
