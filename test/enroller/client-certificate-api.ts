import type { IncomingMessage, ServerResponse } from 'node:http';
import type { TLSSocket } from 'node:tls';
import { ApiServer, sendJson, sendStatus } from '../kube/support/api-server.ts';
import type { Authority } from '../kube/support/certificates.ts';

const reviews = '/apis/authentication.k8s.io/v1/selfsubjectreviews';

/**
 * An HTTPS server that authenticates client certificates as kube-apiserver does with
 * --client-ca-file and anonymous requests allowed: an unknown issuer gets 401, no
 * certificate means system:anonymous.
 */
export async function startApi(options: {
  readonly servingCa: Authority;
  readonly clientCa: Authority;
  /** False for a server before Kubernetes 1.26. */
  readonly hasReviews?: boolean;
}): Promise<ApiServer> {
  const { servingCa, clientCa, hasReviews = true } = options;
  const handler = (request: IncomingMessage, response: ServerResponse): void => {
    const user = userOf(request);
    if (user === undefined) return sendStatus(response, 401, { reason: 'Unauthorized' });
    if (request.url === '/version') return sendJson(response, { gitVersion: 'v1.25.0' });
    if (request.url !== reviews || !hasReviews) {
      response.writeHead(404, { 'content-type': 'text/plain' }).end('404 page not found\n');
      return;
    }
    if (user === 'system:anonymous') {
      const message = `selfsubjectreviews.authentication.k8s.io is forbidden: User "${user}" cannot create resource "selfsubjectreviews" in API group "authentication.k8s.io" at the cluster scope`;
      return sendStatus(response, 403, { reason: 'Forbidden', message });
    }
    sendJson(response, { status: { userInfo: { username: user, groups: ['system:nodes'] } } }, 201);
  };
  const tls = { requestCert: true, rejectUnauthorized: false, ca: clientCa.pem };
  return ApiServer.start(handler, { authority: servingCa, tls });
}

/** Undefined for a certificate that no CA of the server has signed. */
function userOf({ socket }: IncomingMessage): string | undefined {
  const { authorized } = socket as TLSSocket;
  const certificate = (socket as TLSSocket).getPeerX509Certificate();
  if (certificate === undefined) return 'system:anonymous';
  return authorized ? /^CN=(.*)$/m.exec(certificate.subject)?.[1] : undefined;
}
