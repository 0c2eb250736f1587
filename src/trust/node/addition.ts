import type { Failure } from '../../core/errors.ts';
import { missingFrom, unionOf } from '../../core/trust-bundle.ts';
import type { RefusedTrust } from '../../core/trust-report.ts';
import { without } from '../../core/without.ts';
import { applyTrust } from './apply.ts';
import { nextAttempt, rollbackFinding, withoutRollback } from './rolled-back.ts';
import type { RunResult } from './run-result.ts';
import { failureOf } from './run-result.ts';
import { unverifiedRefusal } from './servers.ts';
import { fingerprintsOf } from './session.ts';
import type { TrustSession } from './session.ts';
import type { WantedTrust } from './wanted.ts';

export interface Addition {
  readonly session: TrustSession;
  readonly result: RunResult;
  readonly wanted: WantedTrust;
  /** Why the clock of this node may be wrong. */
  readonly doubt: string | undefined;
  /** A person runs the command, so CAs that were rolled back are written again. */
  readonly byHand: boolean;
}

/** Adds what the places lack, if the CAs of the sources alone verify the API servers. */
export async function addWanted(addition: Addition): Promise<void> {
  const { session, result, wanted } = addition;
  const { authorities } = wanted;
  if (authorities === undefined) return reject(addition, wanted.refusal, wanted.failure);
  if (session.hasEverywhere(authorities)) session.memory = withoutRollback(session.memory);
  else if (isHeldBack(addition) || !(await isVerified(addition))) return;
  try {
    const changes = session.changes((held) => unionOf(held, authorities));
    const run = await applyTrust(session.files, { changes, verify: () => session.verify() });
    if (run !== undefined) {
      result.isChanged = true;
      session.memory = { ...session.memory, changedAt: session.now };
    }
  } catch (error) {
    result.fail(failureOf(error));
  }
  await session.refresh();
  waitForPlaces(session, result);
}

/** A file that cannot be written must not look as if it had the CAs. */
function waitForPlaces({ kept }: TrustSession, result: RunResult): void {
  const { path, problem } = kept.find((place) => place.problem !== undefined) ?? {};
  if (problem === undefined) return;
  const message = `nodecertd cannot update the CAs in ${path}: ${problem.message}`;
  result.wait({ ...problem, message });
}

/** With a wrong clock, a valid CA looks expired. */
function reject(
  { result, doubt }: Addition,
  refusal: RefusedTrust | undefined,
  failure?: Failure,
): void {
  const isByClock = refusal?.reason === 'expired' || refusal?.reason === 'not-yet-valid';
  if (refusal !== undefined && isByClock && doubt !== undefined) {
    result.wait({
      code: 'CLOCK_UNTRUSTED',
      message: `${doubt}; ${refusal.message}`,
      remedy: 'Start a time service, and check the clock: timedatectl',
    });
  } else if (refusal !== undefined) result.refusal = refusal;
  else if (failure !== undefined) result.wait(failure);
}

async function isVerified(addition: Addition): Promise<boolean> {
  const { session, result, wanted } = addition;
  const { authorities = [], sources } = wanted;
  const source = sources.find(({ outcome }) => outcome === 'read');
  try {
    const refusal = source && unverifiedRefusal(await session.dial(authorities), source);
    if (refusal !== undefined) reject(addition, refusal);
    return refusal === undefined;
  } catch (error) {
    result.wait(failureOf(error));
    return false;
  }
}

function isHeldBack({ session, result, wanted, byHand }: Addition): boolean {
  const { memory, now, trusted } = session;
  const missing = fingerprintsOf(missingFrom(trusted, wanted.authorities ?? []));
  const next = nextAttempt(memory, missing);
  if (byHand || next === undefined || memory.rolledBack === undefined) return false;
  if (now >= next || now < memory.rolledBack.at) return false;
  const finding = rollbackFinding(memory.rolledBack, next);
  result.findings.push(finding);
  result.wait({ code: 'KUBELET_RESTART', ...without(finding, 'id') });
  return true;
}
