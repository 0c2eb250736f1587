import { rename, stat } from 'node:fs/promises';
import { join } from 'node:path';
import * as v from 'valibot';
import { AgentError, describeError } from '../core/errors.ts';
import type { Instant } from '../core/instant.ts';
import { printable } from '../core/printable.ts';
import { makeDirectory, removeStrays, replaceFile, syncDirectory } from './atomic-file.ts';
import { readBoundedFile } from '../sys/small-file.ts';
import { attempt, orBadContent, unlessMissing } from '../sys/file-error.ts';

/** A CSR that, as far as the agent knows, is neither issued nor denied. */
export interface OutstandingCsr {
  readonly csr: string;
  readonly createdAt: Instant;
}

/** State that outlives the agent. Every user may read it, because it contains no secret. */
export interface AgentState {
  /** Process id of the agent that wrote the state. */
  readonly pid?: number;
  readonly startedAt?: Instant;
  /** Where `status` reaches the running agent: `127.0.0.1:9471`. */
  readonly metricsAddress?: string;
  /** The socket for commands from root. */
  readonly controlSocket?: string;
  readonly certificates: Readonly<Record<string, CertificateRecord>>;
}

export interface CertificateRecord {
  readonly outstanding: readonly OutstandingCsr[];
  /** Serial of the key pair whose hooks have not all succeeded. */
  readonly hooksPending?: string;
  /** The names of the control-plane certificates whose hooks have not all succeeded. */
  readonly renewed?: readonly string[];
  /** The serial of the latest renewal of each control-plane certificate, by name. */
  readonly reported?: Readonly<Record<string, string>>;
  readonly rolledBack?: RolledBackRecord;
  /** When the agent found that the signer uses a CA that did not issue it. */
  readonly behindSince?: Instant;
}

/** A rollback from one key pair to the previous one, by their serials. */
export interface RolledBackRecord {
  readonly from: string;
  readonly to: string;
  /** Rollbacks in a row, this one included. */
  readonly count: number;
  /** No new certificate is requested before this moment. */
  readonly until: Instant;
}

export interface ReadState {
  readonly state: AgentState;
  /** Where a corrupt state file was set aside, and why. */
  readonly setAside?: { readonly path: string; readonly reason: string };
}

export const emptyState: AgentState = { certificates: {} };

/**
 * The state of the previous run, for the agent. Empty if the file does not exist. Sets a corrupt
 * file aside, because an agent without the list of its CSRs is better than an agent that does
 * not start.
 * @throws AgentError STORE_PERMISSIONS, STORE_IO
 */
export async function readState(directory: string): Promise<ReadState> {
  const path = statePath(directory);
  // Even without a state file, because the first write may have been interrupted. Ignores a
  // failure, because temporary files contain no secret.
  await removeStrays(path).catch(() => undefined);
  const text = await readText(path);
  if (text === undefined) return { state: emptyState };
  const parsed = parseState(text);
  if (parsed.state !== undefined) return parsed;
  if (!(await isOurs(path, text))) throw foreignState(path);
  const aside = `${path}.corrupt`;
  await attempt('set aside', path, () => rename(path, aside));
  await syncDirectory(directory);
  return { state: emptyState, setAside: { path: aside, reason: parsed.reason } };
}

/**
 * The state for commands that must not change a running agent's files. Undefined if there is
 * no valid state.
 * @throws AgentError STORE_PERMISSIONS, STORE_IO
 */
export async function peekState(directory: string): Promise<AgentState | undefined> {
  const text = await readText(statePath(directory));
  return text === undefined ? undefined : parseState(text).state;
}

/** @throws AgentError STORE_FULL, STORE_PERMISSIONS, STORE_IO */
export async function writeState(directory: string, state: AgentState): Promise<void> {
  await makeDirectory(directory);
  const text = `${JSON.stringify(state, undefined, 2)}\n`;
  await replaceFile(statePath(directory), Buffer.from(text), 0o644);
}

/**
 * False for valid JSON without `certificates`, which every state file contains: it belongs to
 * another program, which may need it. A corrupt file counts as ours.
 */
async function isOurs(path: string, text: string | AgentError): Promise<boolean> {
  if (text instanceof AgentError) return (await stat(path)).isFile();
  try {
    return Object.hasOwn(Object(JSON.parse(text)), 'certificates');
  } catch {
    return true;
  }
}

function foreignState(path: string): AgentError {
  return new AgentError('STORE_IO', `${path} is not a state file of nodecertd`, {
    remedy: 'Set stateDirectory (--state-dir) to a directory that only nodecertd uses',
  });
}

function statePath(directory: string): string {
  return join(directory, 'state.json');
}

/** Reads a limited number of bytes, and does not wait for the writer of a named pipe. */
async function readText(path: string): Promise<string | AgentError | undefined> {
  return unlessMissing(() =>
    orBadContent(async () => {
      using file = await readBoundedFile(path);
      return new TextDecoder().decode(file.content.expose());
    }),
  );
}

function parseState(
  text: string | AgentError,
): { readonly state: AgentState } | { readonly state: undefined; readonly reason: string } {
  try {
    if (text instanceof AgentError) throw text;
    return { state: v.parse(stateSchema, JSON.parse(text)) };
  } catch (error) {
    // Parser and schema quote the content, which can be long.
    return { state: undefined, reason: printable(describeError(error)) };
  }
}

/** The last time that a Date can represent. */
const lastMoment = 8.64e15;
const instant = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(lastMoment));

const natural = v.pipe(v.number(), v.integer(), v.minValue(1));

const stateSchema = v.object({
  pid: v.exactOptional(natural),
  startedAt: v.exactOptional(instant),
  metricsAddress: v.exactOptional(v.string()),
  controlSocket: v.exactOptional(v.string()),
  certificates: v.record(
    v.string(),
    v.object({
      outstanding: v.array(v.object({ csr: v.string(), createdAt: instant })),
      hooksPending: v.exactOptional(v.string()),
      renewed: v.exactOptional(v.array(v.string())),
      reported: v.exactOptional(v.record(v.string(), v.string())),
      rolledBack: v.exactOptional(
        v.object({ from: v.string(), to: v.string(), count: natural, until: instant }),
      ),
      behindSince: v.exactOptional(instant),
    }),
  ),
});
