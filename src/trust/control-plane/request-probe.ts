import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { request } from 'node:https';
import { describeError } from '../../core/errors.ts';
import { second } from '../../core/instant.ts';
import type { ClientCertificate } from '../../kube/cluster-access.ts';
import type { ProbeResult } from '../cluster/probes.ts';

export interface RequestTarget {
  readonly host: string;
  readonly port: number;
  /** The name for SNI. */
  readonly serverName?: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
}

const timeout = 5 * second;

/**
 * Whether a server authenticates the client of a request over a new connection. Servers of Kubernetes
 * answer a user without permissions with 403, and a certificate that they do not trust with 401, also if
 * they allow anonymous requests. The probe sends nothing secret, so it does not verify the server: the
 * certificate of a kubelet is usually self-signed.
 */
export async function probeByRequest(
  { host, port, serverName, path, headers = {} }: RequestTarget,
  { pem, key }: ClientCertificate,
  signal: AbortSignal,
): Promise<ProbeResult> {
  const { buffer, byteOffset, byteLength } = key.expose();
  try {
    const sent = request({
      host,
      port,
      path,
      headers,
      ...(serverName !== undefined && { servername: serverName }),
      cert: Buffer.from(pem),
      key: Buffer.from(buffer, byteOffset, byteLength),
      rejectUnauthorized: false,
      agent: false,
      signal: AbortSignal.any([signal, AbortSignal.timeout(timeout)]),
    });
    sent.end();
    const [response] = (await once(sent, 'response')) as [IncomingMessage];
    return await resultOf(response);
  } catch (error) {
    signal.throwIfAborted();
    return { kind: 'failed', reason: describeError(error) };
  }
}

async function resultOf(response: IncomingMessage): Promise<ProbeResult> {
  const { statusCode = 0 } = response;
  if (statusCode === 403) {
    const isAnonymous = (await beginningOf(response)).includes('system:anonymous');
    return { kind: isAnonymous ? 'rejected' : 'accepted' };
  }
  response.destroy();
  if (statusCode === 401) return { kind: 'rejected' };
  if (statusCode >= 200 && statusCode < 300) return { kind: 'accepted' };
  return { kind: 'failed', reason: `status ${statusCode}` };
}

const longestBeginning = 65_536;

async function beginningOf(response: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of response.setEncoding('utf8')) {
    text += String(chunk);
    if (text.length >= longestBeginning) break;
  }
  return text;
}
