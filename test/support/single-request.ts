import type { IncomingMessage } from 'node:http';
import { request } from 'node:https';
import type { KeyPair } from './cluster-pki.ts';
import { scaled } from './machine-speed.ts';

export interface SingleRequest {
  readonly url: string;
  readonly caPem: string;
  /** The client certificate. */
  readonly pair?: KeyPair;
  /** The name to verify, if it differs from the host of the URL. */
  readonly serverName?: string;
}

const patienceMs = scaled(10_000);

/**
 * The status of a GET request over a new TLS connection, which no later request uses.
 * @throws Error if the handshake fails, or without an answer in time
 */
export async function statusOfNewConnection(options: SingleRequest): Promise<number> {
  const response = await answerOfNewConnection(options);
  response.resume();
  return response.statusCode ?? 0;
}

/**
 * The answer to a GET request over a new TLS connection, whose body has to be read.
 * @throws Error as statusOfNewConnection()
 */
export async function answerOfNewConnection(options: SingleRequest): Promise<IncomingMessage> {
  const { url, caPem, pair, serverName } = options;
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const sent = request(url, {
    agent: false,
    ca: caPem,
    timeout: patienceMs,
    ...(pair !== undefined && { cert: pair.certificatePem, key: pair.keyPem }),
    ...(serverName !== undefined && { servername: serverName }),
  });
  sent.once('timeout', () => sent.destroy(new Error(`no answer within ${patienceMs} ms`)));
  sent.once('error', reject);
  // A client certificate can be rejected after the handshake has ended for the client.
  sent.once('response', resolve);
  sent.end();
  return promise;
}
