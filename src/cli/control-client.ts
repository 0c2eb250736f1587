import { once } from 'node:events';
import { request } from 'node:http';
import type { IncomingMessage } from 'node:http';
import * as v from 'valibot';
import type { LoadedConfig } from '../config/load.ts';
import type { ErrorCode } from '../core/errors.ts';
import { AgentError, errorCodes, hasErrno } from '../core/errors.ts';
import { second } from '../core/instant.ts';
import type { AgentStatus, CertificateStatus } from '../core/status.ts';
import { peekState } from '../store/state-file.ts';
import { agentStatusSchema, certificateStatusSchema } from './agent-status.ts';

/** Generous: the agent is on this machine and answers from memory. */
const timeoutMs = 5 * second;
const maxBytes = 1024 * 1024;

/** Client of the root-only socket on which a running agent accepts commands. */
export class ControlClient {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  /** @throws AgentError AGENT_UNREACHABLE, or the failure the agent returns */
  async status(): Promise<AgentStatus> {
    return this.#ask({ method: 'GET', path: '/status' }, agentStatusSchema);
  }

  /**
   * @returns the status of each certificate before its renewal
   * @throws AgentError USAGE for an unknown name, AGENT_UNREACHABLE
   */
  async renew(names: readonly string[]): Promise<readonly CertificateStatus[]> {
    const body = { certificates: names };
    const command = { method: 'POST', path: '/renew', body };
    return this.#ask(command, v.array(certificateStatusSchema));
  }

  /** Checks the used fields only: another version of the agent may send more. */
  async #ask<T>(command: Command, schema: v.GenericSchema<unknown, object>): Promise<T> {
    const value = await this.#exchange(command);
    if (v.is(schema, value)) return value as T;
    const refused = v.safeParse(failureSchema, value);
    if (!refused.success)
      throw this.#unreachable('the process on this socket is not a nodecertd agent');
    const { code, message, remedy } = refused.output.failure;
    throw new AgentError(code, message, remedy === undefined ? {} : { remedy });
  }

  async #exchange({ method, path, body }: Command): Promise<unknown> {
    try {
      const signal = AbortSignal.timeout(timeoutMs);
      const sent = request({ socketPath: this.#path, method, path, agent: false, signal });
      const answered = once(sent, 'response') as Promise<[IncomingMessage]>;
      sent.end(body === undefined ? undefined : JSON.stringify(body));
      const [response] = await answered;
      return JSON.parse(await readAll(response)) as unknown;
    } catch (error) {
      throw this.#unreachable('no agent listens on this socket', error);
    }
  }

  #unreachable(why: string, cause?: unknown): AgentError {
    return new AgentError('AGENT_UNREACHABLE', `${this.#path}: ${why}`, {
      cause,
      remedy: hasErrno(cause, 'EACCES', 'EPERM')
        ? 'Run this command as the user of the agent, usually root'
        : startIt,
    });
  }
}

interface Command {
  readonly method: string;
  readonly path: string;
  readonly body?: unknown;
}

const startIt = 'Start the agent: systemctl start nodecertd';

const failureSchema = v.object({
  failure: v.object({
    code: v.picklist(errorCodes) satisfies v.GenericSchema<unknown, ErrorCode>,
    message: v.string(),
    remedy: v.optional(v.string()),
  }),
});

/**
 * The agent of this configuration, found through its state file.
 * @throws AgentError AGENT_UNREACHABLE
 */
export async function findAgent({ stateDirectory }: LoadedConfig): Promise<ControlClient> {
  const state = await peekState(stateDirectory);
  if (state?.controlSocket !== undefined) return new ControlClient(state.controlSocket);
  const message =
    state?.pid === undefined
      ? `no agent has run with the state directory ${stateDirectory} yet`
      : `the agent with pid ${state.pid} accepts no commands`;
  const remedy =
    state?.pid === undefined
      ? startIt
      : 'Find the control_unavailable line in its log, then restart it: systemctl restart nodecertd';
  throw new AgentError('AGENT_UNREACHABLE', message, { remedy });
}

async function readAll(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length > maxBytes) throw new Error('the response is longer than 1 MiB');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}
