import { request } from 'node:https';
import type { Authority } from '../kube/support/certificates.ts';
import { ApiServer } from '../kube/support/api-server.ts';

export interface ProxyOptions {
  /** The URL of the API server. */
  readonly server: string;
  /** The CA of the API server, in PEM. */
  readonly ca: string;
  /** Issues the certificate that the proxy shows. */
  readonly authority: Authority;
  /** The certificate by which the proxy authenticates to the API server, if it has one. */
  readonly own?: { readonly cert: string; readonly key: string };
}

/** A load balancer that terminates TLS, and forwards requests over separate connections. */
export async function startTlsEndingProxy(options: ProxyOptions): Promise<ApiServer> {
  const { server, ca, authority, own } = options;
  const { hostname: host, port } = new URL(server);
  const target = { host, port, ca, agent: false, ...own };
  return ApiServer.start(
    (incoming, response) => {
      const { method, url: path, headers } = incoming;
      const onward = request({ ...target, method, path, headers }, (answer) => {
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(response);
      });
      onward.on('error', () => response.destroy());
      response.on('close', () => onward.destroy());
      incoming.pipe(onward);
    },
    { authority },
  );
}
