import type { X509Certificate } from 'node:crypto';
import { TLSSocket } from 'node:tls';
import buildConnector from 'undici/lib/core/connect.js';
import Pool from 'undici/lib/dispatcher/pool.js';
import type { Dispatcher } from 'undici';
import type { ClusterAccess } from './cluster-access.ts';
import { proxyFor } from './proxy.ts';
import { rememberCertificate } from './server-certificate.ts';
import { proxyTlsContext, tlsContext } from './tls-context.ts';

/**
 * Opens connections to one API server with one credential. Another credential needs
 * another dispatcher: open connections and resumed TLS sessions keep the client
 * certificate that they started with (k/k #49899).
 *
 * It uses HTTP/1.1 although that takes a second socket while a watch is open. A deadline
 * then destroys a dead connection with its request, whereas HTTP/2 keeps sending
 * requests into it (k/k #87615).
 * @throws AgentError KUBECONFIG_INVALID, API_UNREACHABLE for a bad proxy variable
 */
export async function openDispatcher(
  access: ClusterAccess,
  connectTimeout: number,
): Promise<Dispatcher> {
  const { server, tlsServerName, insecureSkipTlsVerify } = access.cluster;
  const toServer = {
    secureContext: tlsContext(access),
    rejectUnauthorized: !insecureSkipTlsVerify,
    timeout: connectTimeout,
    allowH2: false,
    ...(tlsServerName !== undefined && { servername: tlsServerName }),
  };
  // The client has timeouts of its own, on the injected clock.
  const common = { allowH2: false, headersTimeout: 0, bodyTimeout: 0 };
  const proxy = proxyFor(access.cluster);
  if (proxy === undefined) {
    return new Pool(new URL(server).origin, {
      ...common,
      connect: destroyedByFirstError(buildConnector(toServer)),
    });
  }
  const [{ default: ProxyAgent }, { default: connect }] = await Promise.all([
    import('undici/lib/dispatcher/proxy-agent.js'),
    import('undici/lib/api/api-connect.js'),
  ]);
  return new ProxyAgent({
    ...common,
    uri: proxy.url,
    // Two contexts: the client certificate is for the API server and not for the proxy.
    requestTls: toServer,
    proxyTls: {
      secureContext: proxyTlsContext(access),
      timeout: connectTimeout,
      allowH2: false,
    },
    factory: (origin, options: Pool.Options) =>
      new Pool(origin, {
        ...options,
        ...(typeof options.connect === 'function' && {
          connect: destroyedByFirstError(options.connect),
        }),
      }),
    // The index of the package, which is not loaded, adds `connect` to every dispatcher.
    clientFactory: (origin, options) => Object.assign(new Pool(origin, options), { connect }),
  });
}

/**
 * Destroys a socket at its first error. A server that refuses the client certificate
 * sends a TLS alert and then closes, and undici would report only the closing. An error
 * about the server's certificate gets that certificate, which Node drops with the socket.
 */
function destroyedByFirstError(connect: buildConnector.connector): buildConnector.connector {
  return (target, callback) => {
    let certificate: X509Certificate | undefined;
    const pending: unknown = connect(target, (...result) => {
      const [error, socket] = result;
      socket?.on('error', () => socket.destroy());
      if (error !== null && certificate !== undefined) rememberCertificate(error, certificate);
      callback(...result);
    });
    if (!(pending instanceof TLSSocket)) return;
    // Node verifies the certificate in its own listener of this event.
    pending.prependOnceListener('secure', () => {
      certificate = pending.getPeerX509Certificate();
    });
  };
}
