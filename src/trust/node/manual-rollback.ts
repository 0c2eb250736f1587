import type { Failure } from '../../core/errors.ts';
import { missingFrom } from '../../core/trust-bundle.ts';
import { readRuns } from '../../store/run-folder.ts';
import { interruptedRun } from '../../store/run-recovery.ts';
import { rollBackTrust } from './apply.ts';
import { makeKubeletUse, observeKubelet } from './kubelet-use.ts';
import { openNodeApi } from './node-api.ts';
import { withRollback } from './rolled-back.ts';
import { RunResult } from './run-result.ts';
import type { TrustRequest } from './session.ts';
import { fingerprintsOf, TrustSession } from './session.ts';
import { trustDirectory } from './trust-files.ts';

export interface TrustRollback {
  /** The files that were restored, or that a rollback would restore. */
  readonly paths: readonly string[];
  /** What the kubelet still needs to use the previous CAs. */
  readonly kubelet?: Failure;
}

/** The files that a rollback would restore. @throws AgentError STORE_*, CONFIG_INVALID */
export async function previewTrustRollback({
  config,
}: Pick<TrustRequest, 'config'>): Promise<TrustRollback> {
  const runs = await readRuns(trustDirectory(config));
  const run = interruptedRun(runs) ?? runs.active.at(-1);
  return { paths: run?.manifest.changes.map(({ path }) => path) ?? [] };
}

/**
 * Restores the files as they were before the last change, and makes the kubelet use them.
 * @throws AgentError FILE_CHANGED unless forced, STORE_*
 */
export async function rollBackByHand(
  request: TrustRequest,
  { force, restartNow }: { readonly force: boolean; readonly restartNow: boolean },
): Promise<TrustRollback> {
  await using session = await TrustSession.openInterrupted(request);
  const { trusted: before, now: at } = session;
  // Before the files change, they show what the kubelet has read.
  await observeKubelet(session, {});
  const run = await rollBackTrust(session.files, { force });
  if (run === undefined) return { paths: [] };
  await session.refresh();
  const lost = fingerprintsOf(missingFrom(session.trusted, before));
  // Otherwise `trust.drop: auto` would drop a restored CA in the next run.
  const memory = { ...session.memory, changedAt: at, missingSince: {} };
  session.memory =
    lost.length === 0
      ? memory
      : withRollback(memory, { by: 'administrator', at, authorities: lost });
  const result = new RunResult();
  await using api = await openNodeApi(session);
  await makeKubeletUse({ session, result, api, restartNow });
  await session.save();
  const { failure } = result.end(at);
  return { paths: run.paths, ...(failure && { kubelet: failure }) };
}
