import { lstat } from 'node:fs/promises';
import type { Instant } from '../../core/instant.ts';
import { missingFrom } from '../../core/trust-bundle.ts';
import type { TrustFinding } from '../../core/trust-report.ts';
import type { Failure } from '../../core/errors.ts';
import { without } from '../../core/without.ts';
import { kubeletFacts, kubeletTrust } from './kubelet-facts.ts';
import { restartIfDue } from './kubelet-restart.ts';
import type { CurrentLeaf } from './leaves.ts';
import type { NodeApi } from './node-api.ts';
import type { Reader, ReaderFacts } from './reader.ts';
import { clientReadAt, readerOf } from './reader.ts';
import { nextAttempt, rollbackFinding, withRollback } from './rolled-back.ts';
import type { RunResult } from './run-result.ts';
import { fingerprintsOf } from './session.ts';
import type { TrustSession } from './session.ts';

export interface KubeletUse {
  readonly reader: Reader;
  /** When nodecertd restarts the kubelet. */
  readonly restartAt?: Instant;
}

interface Run {
  readonly session: TrustSession;
  readonly result: RunResult;
  readonly api: NodeApi;
  /** Do not wait for the time of this node in `trust.spread`. */
  readonly restartNow: boolean;
}

/** Finds out whether the kubelet uses the CAs of its files, and restarts it when that is due. */
export async function makeKubeletUse(run: Run): Promise<KubeletUse> {
  const { session, result, api, restartNow } = run;
  const { reader, facts } = await observeKubelet(session, api);
  const { client } = api;
  const restart = await restartIfDue({ session, reader, facts, client, restartNow });
  switch (restart.kind) {
    case 'none':
      return { reader };
    case 'waiting': {
      const { failure, until } = restart;
      result.wait(failure, until);
      result.findings.push(pendingFinding(failure));
      const isRestart = until !== undefined && reader.readAt === undefined;
      return { reader, ...(isRestart && { restartAt: until }) };
    }
    case 'done':
      result.isChanged = true;
      return observeKubelet(session, api);
    case 'failed':
      result.fail(restart.failure);
      return { reader };
    case 'rolled-back':
      result.fail(restart.failure);
      return afterRollback(run);
    default:
      return restart satisfies never;
  }
}

/** Remembers what the kubelet has read. */
export async function observeKubelet(
  session: TrustSession,
  { node }: Pick<NodeApi, 'node'>,
): Promise<{ readonly reader: Reader; readonly facts: ReaderFacts }> {
  const { request, found, now } = session;
  const { config, clock, machine = {} } = request;
  const version = node?.kubeletVersion === '' ? undefined : node?.kubeletVersion;
  const options = { config, machine, version, clock, now };
  const facts = await kubeletFacts(kubeletTrust(found.places), options);
  const reader = readerOf(session.memory.reader, facts);
  const { memory } = reader;
  session.memory = { ...without(session.memory, 'reader'), ...(memory && { reader: memory }) };
  return { reader, facts };
}

/** When the kubelet certainly uses its current client certificate. Undefined if it has started since. */
export async function clientUse(
  session: TrustSession,
  api: Pick<NodeApi, 'node'>,
  leaves: readonly CurrentLeaf[],
): Promise<Instant | undefined> {
  const leaf = leaves.find(({ spec }) => spec.profile === 'kubelet-client');
  // The link is replaced when a certificate is stored.
  const link = leaf && (await lstat(leaf.path).catch(() => undefined));
  if (link === undefined) return undefined;
  const { facts } = await observeKubelet(session, api);
  return clientReadAt(link.mtimeMs, facts);
}

async function afterRollback({ session, result, api }: Run): Promise<KubeletUse> {
  const { trusted: before, now: at } = session;
  await session.refresh();
  const authorities = fingerprintsOf(missingFrom(session.trusted, before));
  session.memory = withRollback(session.memory, { by: 'kubelet', at, authorities });
  const { rolledBack } = session.memory;
  const next = nextAttempt(session.memory, authorities);
  if (rolledBack && next !== undefined) result.findings.push(rollbackFinding(rolledBack, next));
  return observeKubelet(session, api);
}

function pendingFinding({ message, remedy }: Failure): TrustFinding {
  return { id: 'reader_pending', message, ...(remedy !== undefined && { remedy }) };
}
