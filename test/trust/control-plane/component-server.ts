import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { issueWithOpenssl, leafExtensions } from '../../pki/renewal/openssl-authority.ts';
import type { TestAuthority } from '../node/authority.ts';

interface Trust {
  /** The CA that issues its certificate. */
  readonly served: TestAuthority;
  /** The CAs of its clients. */
  readonly trusted: readonly TestAuthority[];
  /** Certificates that it sends after its own. */
  readonly chain?: string;
}

/** A server that authenticates clients as kube-apiserver and the kubelet do. */
export interface ComponentServer extends AsyncDisposable {
  readonly port: number;
  /** The served certificates in PEM. */
  readonly certificate: string;
  /** As when it reloads `ca.crt`. */
  trust(trusted: readonly TestAuthority[]): void;
}

/** Answers a client that it does not trust with 401, and any other one with its name, or with 403. */
export async function startComponent({
  served,
  trusted,
  chain = '',
}: Trust): Promise<ComponentServer> {
  const extensions = leafExtensions.map((line) =>
    line.startsWith('subjectAltName') ? 'subjectAltName=DNS:kubernetes.default.svc' : line,
  );
  const leaf = issueWithOpenssl({ subject: '/CN=server', extensions, signer: served });
  const certificate = leaf.certificate.toString() + chain;
  const settings = (cas: readonly TestAuthority[]): object => ({
    cert: certificate,
    key: leaf.key,
    ca: cas.map(({ pem }) => pem),
  });
  const options = { ...settings(trusted), requestCert: true, rejectUnauthorized: false };
  const server = createServer(options, (request, response) => {
    const socket = request.socket as TLSSocket;
    request.resume();
    if (!socket.authorized) return answer(response, 401, statusOf(401, 'Unauthorized'));
    if (request.url?.includes('/leases/')) return answer(response, 404, statusOf(404, 'NotFound'));
    if (request.method !== 'POST') return answer(response, 403, statusOf(403, 'Forbidden'));
    const { subject } = socket.getPeerCertificate();
    answer(response, 201, { status: { userInfo: { username: subject.CN } } });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    certificate,
    trust: (cas) => server.setSecureContext(settings(cas)),
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

function statusOf(code: number, reason: string): object {
  return { kind: 'Status', apiVersion: 'v1', status: 'Failure', message: reason, reason, code };
}

function answer(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}
