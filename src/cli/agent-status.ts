import { get } from 'node:http';
import * as v from 'valibot';
import type { HostPort } from '../core/host-port.ts';
import { formatHostPort, parseHostPort } from '../core/host-port.ts';
import type { LoadedConfig } from '../config/load.ts';
import { describeError, hasErrno } from '../core/errors.ts';
import { severities } from '../core/findings.ts';
import type { AgentStatus } from '../core/status.ts';
import { certificateStates, pkiStates, trustStates } from '../core/status.ts';
import { trustOutcomes } from '../core/trust-report.ts';
import { trustReaderStates, trustStages } from '../core/trust.ts';
import { peekState } from '../store/state-file.ts';
import { localHost } from '../sys/local-host.ts';
import { isSamePath } from '../sys/same-path.ts';
import type { CertificateReport, StatusReport } from './status-report.ts';
import { conditionOf } from './status-report.ts';

/** After this time, `status` reads the directory instead: a person is waiting. */
const deadlineMs = 1_000;
const maxBytes = 1024 * 1024;

export type AgentAnswer =
  | { readonly kind: 'running'; readonly report: StatusReport }
  /** No agent of this directory; the note describes another program at its address. */
  | { readonly kind: 'absent'; readonly note?: string };

/** Asks the agent at the address from state.json, or else from the configuration. Never throws. */
export async function askAgent(config: LoadedConfig): Promise<AgentAnswer> {
  const address = (await addressFromState(config.stateDirectory)) ?? config.metrics;
  if (address.port === 0) return { kind: 'absent' };
  const place = formatHostPort(address);
  try {
    const status = await fetchStatus(address);
    if (status === undefined) {
      return { kind: 'absent', note: `the program on ${place} is not a nodecertd agent` };
    }
    if (await isElsewhere(status, config)) {
      const note = `the agent on ${place} manages ${status.certificateDirectory}`;
      return { kind: 'absent', note };
    }
    return { kind: 'running', report: toReport(status) };
  } catch (error) {
    if (hasErrno(error, 'ECONNREFUSED')) return { kind: 'absent' };
    return { kind: 'absent', note: `no response from ${place}: ${describeError(error)}` };
  }
}

/** The address of the agent with this state directory. With port 0 in the configuration, only state.json has it. */
export async function addressFromState(stateDirectory: string): Promise<HostPort | undefined> {
  // An unreadable state file counts as missing: the configuration has an address too.
  const state = await peekState(stateDirectory).catch(() => undefined);
  return state?.metricsAddress === undefined ? undefined : parseHostPort(state.metricsAddress);
}

/** The status of the agent at this address; undefined if another program answers. Rejects without an answer. */
export async function fetchStatus(address: HostPort): Promise<AgentStatus | undefined> {
  return parseStatus(await fetchText(address));
}

async function fetchText({ host, port }: HostPort): Promise<string> {
  const signal = AbortSignal.timeout(deadlineMs);
  return new Promise<string>((resolve, reject) => {
    const request = get({ host: localHost(host), port, path: '/status', agent: false, signal });
    request.on('error', reject);
    request.on('response', (response) => {
      const chunks: Buffer[] = [];
      let length = 0;
      response.on('data', (chunk: Buffer) => {
        length += chunk.length;
        chunks.push(chunk);
        if (length > maxBytes) response.destroy(new Error('the response is longer than 1 MiB'));
      });
      response.on('error', reject);
      response.on('end', () => {
        resolve(Buffer.concat(chunks).toString('utf8'));
      });
    });
  });
}

const failure = v.looseObject({ code: v.string(), message: v.string() });
const endpoint = v.variant('state', [
  v.looseObject({ endpoint: v.string(), state: v.literal('current') }),
  v.looseObject({
    endpoint: v.string(),
    state: v.literal('other'),
    serial: v.string(),
    notAfter: v.number(),
  }),
  v.looseObject({ endpoint: v.string(), state: v.literal('unreachable'), reason: v.string() }),
]);
const hook = v.looseObject({
  name: v.string(),
  succeededAt: v.optional(v.number()),
  failure: v.optional(v.looseObject({ ...failure.entries, at: v.number() })),
});
export const certificateStatusSchema = v.looseObject({
  name: v.string(),
  path: v.string(),
  state: v.picklist(certificateStates),
  overdue: v.boolean(),
  current: v.optional(
    v.looseObject({
      path: v.string(),
      serial: v.string(),
      selfSigned: v.boolean(),
      notBefore: v.number(),
      notAfter: v.number(),
      storedAt: v.number(),
    }),
  ),
  rotationDeadline: v.optional(v.number()),
  nextAttempt: v.optional(v.number()),
  lastFailure: v.optional(failure),
  hooks: v.optional(v.array(hook)),
  served: v.optional(v.looseObject({ at: v.number(), endpoints: v.array(endpoint) })),
});
const pkiStatusSchema = v.looseObject({
  directory: v.string(),
  state: v.picklist(pkiStates),
  waitsFor: v.optional(v.string()),
  failure: v.optional(failure),
  problems: v.array(v.looseObject({ name: v.string(), reason: v.string() })),
  nextDue: v.optional(v.looseObject({ name: v.string(), time: v.number() })),
  lastSuccess: v.optional(v.number()),
  nextCheck: v.optional(v.number()),
  hooks: v.optional(v.array(hook)),
});
const texts = v.array(v.string());
const trustReportSchema = v.looseObject({
  outcome: v.picklist(trustOutcomes),
  stage: v.picklist(trustStages),
  authorities: v.array(
    v.looseObject({
      fingerprint: v.string(),
      subject: v.string(),
      notAfter: v.number(),
      isHeld: v.boolean(),
      isWanted: v.boolean(),
      missingSince: v.optional(v.number()),
      keptBecause: v.optional(texts),
    }),
  ),
  places: v.array(
    v.looseObject({
      kind: v.string(),
      path: v.string(),
      file: v.optional(v.string()),
      problem: v.optional(v.string()),
      isKept: v.boolean(),
      authorities: texts,
    }),
  ),
  sources: v.array(
    v.looseObject({
      kind: v.string(),
      name: v.string(),
      outcome: v.string(),
      authorities: texts,
      reason: v.optional(v.string()),
    }),
  ),
  leaves: v.array(
    v.looseObject({ name: v.string(), issuer: v.optional(v.string()), isBehind: v.boolean() }),
  ),
  reader: v.looseObject({
    state: v.picklist(trustReaderStates),
    since: v.optional(v.number()),
    restartAt: v.optional(v.number()),
  }),
  findings: v.array(
    v.looseObject({ id: v.string(), message: v.string(), remedy: v.optional(v.string()) }),
  ),
  refusal: v.optional(failure),
  failure: v.optional(failure),
});
const trustStatusSchema = v.looseObject({
  state: v.picklist(trustStates),
  since: v.number(),
  waitsFor: v.optional(v.string()),
  failure: v.optional(failure),
  report: v.optional(trustReportSchema),
  reissues: v.array(
    v.variant('kind', [
      v.looseObject({ name: v.string(), kind: v.literal('held') }),
      v.looseObject({
        name: v.string(),
        kind: v.picklist(['scheduled', 'waiting-for-signer']),
        at: v.number(),
      }),
    ]),
  ),
  nextCheck: v.optional(v.number()),
  hooks: v.optional(v.array(hook)),
});
export const agentStatusSchema = v.looseObject({
  version: v.string(),
  pid: v.number(),
  nodeName: v.string(),
  placeholderHostName: v.optional(v.string()),
  startedAt: v.number(),
  now: v.number(),
  certificateDirectory: v.string(),
  certificates: v.array(certificateStatusSchema),
  kubeconfig: v.optional(failure),
  trust: v.optional(failure),
  preflight: v.optional(
    v.array(v.looseObject({ severity: v.picklist(severities), what: v.string() })),
  ),
  pki: v.optional(pkiStatusSchema),
  trustSync: v.optional(trustStatusSchema),
});

/** Checks the printed fields only: another version of the agent may have more. */
function parseStatus(text: string): AgentStatus | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return v.is(agentStatusSchema, value) ? (value as unknown as AgentStatus) : undefined;
  } catch {
    return undefined;
  }
}

async function isElsewhere(status: AgentStatus, config: LoadedConfig): Promise<boolean> {
  return !(await isSamePath(status.certificateDirectory, config.certificateDirectory));
}

function toReport(status: AgentStatus): StatusReport {
  const { version, pid, startedAt, nodeName, certificateDirectory, now } = status;
  return {
    source: 'agent',
    agent: { version, pid, startedAt },
    nodeName,
    certificateDirectory,
    now,
    certificates: status.certificates.map((entry) => toCertificateReport(entry, now)),
    ...(status.placeholderHostName !== undefined && {
      placeholderHostName: status.placeholderHostName,
    }),
    ...(status.kubeconfig !== undefined && { kubeconfig: status.kubeconfig }),
    ...(status.trust !== undefined && { trust: status.trust }),
    ...(status.preflight !== undefined && { preflight: status.preflight }),
    ...(status.pki !== undefined && { pki: status.pki }),
    ...(status.trustSync !== undefined && { trustSync: status.trustSync }),
  };
}

function toCertificateReport(
  entry: AgentStatus['certificates'][number],
  now: number,
): CertificateReport {
  const { name, path, state, current, overdue, rotationDeadline, nextAttempt, csr } = entry;
  const { signerName } = entry;
  const { hooks, served } = entry;
  return {
    name,
    path,
    state,
    signerName,
    overdue,
    condition: current === undefined ? 'missing' : conditionOf(current, now, overdue),
    ...(current !== undefined && { facts: current }),
    ...(rotationDeadline !== undefined && { rotationDeadline }),
    ...(nextAttempt !== undefined && { nextAttempt }),
    ...(csr !== undefined && { csr }),
    ...(entry.lastFailure !== undefined && { failure: entry.lastFailure }),
    ...(hooks !== undefined && { hooks }),
    ...(served !== undefined && { served }),
  };
}
