import { once } from 'node:events';
import { chmod, lstat, unlink } from 'node:fs/promises';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { createServer } from 'node:http';
import { connect } from 'node:net';
import { AgentError, hasErrno, toFailure } from '../core/errors.ts';
import type { Failure } from '../core/errors.ts';
import { second } from '../core/instant.ts';
import type { AgentStatus, CertificateStatus } from '../core/status.ts';
import { parseRenewal } from './request.ts';

/** Commands that root sends to a running agent. */
export interface ControlPort {
  status(): AgentStatus;
  /** @throws AgentError USAGE for an unknown name */
  renew(names: readonly string[]): readonly CertificateStatus[];
}

export interface ControlServer extends AsyncDisposable {
  /** The path of the socket. */
  readonly path: string;
}

/**
 * Accepts commands from root: HTTP on a Unix socket that only its owner can open. The metrics
 * port accepts no commands, because every user of the machine can connect to it.
 * @throws AgentError CONTROL_LISTEN
 */
export async function startControlServer(path: string, port: ControlPort): Promise<ControlServer> {
  const server = createServer({
    headersTimeout: requestTimeoutMs,
    requestTimeout: requestTimeoutMs,
  });
  server.maxConnections = 8;
  server.timeout = requestTimeoutMs;
  server.on('request', (request: IncomingMessage, response: ServerResponse) => {
    void respond(request, response, port);
  });
  try {
    await removeStale(path);
    await listen(server, path);
  } catch (error) {
    throw new AgentError('CONTROL_LISTEN', `cannot listen on ${path}`, {
      cause: error,
      remedy: hasErrno(error, 'EADDRINUSE')
        ? 'Stop the other agent, or set stateDirectory (--state-dir) of this agent to another directory'
        : `Make the directory of ${path} writable for the agent, or choose a shorter path`,
    });
  }
  // Without an error handler, a failed accept (no free descriptor) would end the process.
  server.on('error', () => {});
  return {
    path,
    [Symbol.asyncDispose]: async () => {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

/** Enough on the same machine: a request only starts a renewal. */
const requestTimeoutMs = 5 * second;

/**
 * Removes the socket of an agent that was killed. Keeps a socket that still accepts
 * connections, and every other file.
 */
async function removeStale(path: string): Promise<void> {
  const socket = connect(path);
  try {
    await once(socket, 'connect');
    throw Object.assign(new Error('another agent listens on this socket'), { code: 'EADDRINUSE' });
  } catch (error) {
    if (hasErrno(error, 'ENOENT')) return;
    if (!hasErrno(error, 'ECONNREFUSED') || !(await lstat(path)).isSocket()) throw error;
    await unlink(path);
  } finally {
    socket.destroy();
  }
}

/** Created with its final mode, so no other user can open the socket in between. */
async function listen(server: Server, path: string): Promise<void> {
  const umask = process.umask(0o177);
  try {
    server.listen({ path });
  } finally {
    process.umask(umask);
  }
  await once(server, 'listening');
  await chmod(path, 0o600);
}

async function respond(
  request: IncomingMessage,
  response: ServerResponse,
  port: ControlPort,
): Promise<void> {
  const { code, body } = await answer(request, port);
  const text = `${JSON.stringify(body)}\n`;
  response.writeHead(code, {
    'content-type': 'application/json; charset=utf-8',
    'content-length': Buffer.byteLength(text),
    connection: 'close',
  });
  response.end(text);
}

interface Answer {
  readonly code: number;
  readonly body: AgentStatus | readonly CertificateStatus[] | { readonly failure: Failure };
}

async function answer(request: IncomingMessage, port: ControlPort): Promise<Answer> {
  try {
    switch (`${request.method} ${request.url}`) {
      case 'GET /status':
        return { code: 200, body: port.status() };
      case 'POST /renew':
        return { code: 200, body: port.renew(await parseRenewal(request)) };
      default:
        throw new AgentError('USAGE', `${request.method} ${request.url} is not a command`, {
          remedy: 'Use the nodecertd command of the same version as the agent',
        });
    }
  } catch (error) {
    const failure = toFailure(error);
    return { code: failure.code === 'USAGE' ? 400 : 500, body: { failure } };
  }
}
