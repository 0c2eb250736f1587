import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { request } from 'node:https';
import { describeError } from '../../core/errors.ts';
import { second } from '../../core/instant.ts';
import type { ClientCertificate } from '../../kube/cluster-access.ts';
import type { DialedServer } from '../cluster/served-leaf.ts';
import type { ProbeResult } from '../cluster/probes.ts';

const timeout = 5 * second;

/**
 * Whether a kubelet of this machine authenticates a client certificate. It answers a user without
 * permissions with 403, and a certificate that it does not trust with 401, also if it allows anonymous
 * requests. The certificate of the port is usually self-signed, so the probe does not verify it.
 */
export async function probeKubelet(
  { host, port }: DialedServer,
  { pem, key }: ClientCertificate,
  signal: AbortSignal,
): Promise<ProbeResult> {
  const { buffer, byteOffset, byteLength } = key.expose();
  try {
    const sent = request({
      host,
      port,
      path: '/pods',
      cert: Buffer.from(pem),
      key: Buffer.from(buffer, byteOffset, byteLength),
      rejectUnauthorized: false,
      agent: false,
      signal: AbortSignal.any([signal, AbortSignal.timeout(timeout)]),
    });
    sent.end();
    const [response] = (await once(sent, 'response')) as [IncomingMessage];
    response.destroy();
    return { kind: response.statusCode === 401 ? 'rejected' : 'accepted' };
  } catch (error) {
    signal.throwIfAborted();
    return { kind: 'failed', reason: describeError(error) };
  }
}
