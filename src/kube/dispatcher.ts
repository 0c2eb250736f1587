import type { X509Certificate } from 'node:crypto';
import type { SecureContext } from 'node:tls';
import { TLSSocket } from 'node:tls';
import buildConnector from 'undici/lib/core/connect.js';
import Pool from 'undici/lib/dispatcher/pool.js';
import type { Dispatcher } from 'undici';
import type { ClusterAccess } from './cluster-access.ts';
import { proxyFor } from './proxy.ts';
import { rememberCertificate } from './server-certificate.ts';
import { contextsOfAmbiguousAuthorities, proxyTlsContext, tlsContext } from './tls-context.ts';
import { verificationCode } from './transport-error.ts';

/** For a caller that needs to know more about its connections. */
export interface ConnectionOptions {
  /**
   * Called with the certificate of the server for each connection, also if its verification fails;
   * behind a proxy only if it succeeds.
   */
  readonly onCertificate?: (certificate: X509Certificate) => void;
  /** Also closes a connection that is not established yet, which destroying the dispatcher does not. */
  readonly signal?: AbortSignal;
}

/**
 * Opens connections to one API server with one credential. Another credential needs
 * another dispatcher: open connections and resumed TLS sessions keep the client
 * certificate that they started with (k/k #49899).
 *
 * Uses HTTP/1.1, although a watch then needs a socket of its own. With HTTP/1.1 a deadline
 * destroys a dead connection together with its request; HTTP/2 would keep sending requests
 * into the dead connection (k/k #87615).
 * @throws AgentError KUBECONFIG_INVALID, API_UNREACHABLE for a bad proxy variable
 */
export async function openDispatcher(
  access: ClusterAccess,
  connectTimeout: number,
  { onCertificate, signal }: ConnectionOptions = {},
): Promise<Dispatcher> {
  const connector = (connect: buildConnector.connector): buildConnector.connector =>
    destroyOnFirstError(connect, onCertificate);
  const { server, tlsServerName, insecureSkipTlsVerify } = access.cluster;
  const withContext = (secureContext: SecureContext): buildConnector.BuildOptions => ({
    secureContext,
    rejectUnauthorized: !insecureSkipTlsVerify,
    timeout: connectTimeout,
    allowH2: false,
    ...(tlsServerName !== undefined && { servername: tlsServerName }),
    ...(signal !== undefined && { signal }),
  });
  const toServer = withContext(tlsContext(access));
  // The client has timeouts of its own, on the injected clock.
  const common = { allowH2: false, headersTimeout: 0, bodyTimeout: 0 };
  const proxy = proxyFor(access.cluster);
  if (proxy === undefined) {
    const alone = contextsOfAmbiguousAuthorities(access).map(withContext);
    const connectors = [toServer, ...alone].map((options) => connector(buildConnector(options)));
    return new Pool(new URL(server).origin, { ...common, connect: inTurn(connectors) });
  }
  const [{ default: ProxyAgent }, { default: connect }] = await Promise.all([
    import('undici/lib/dispatcher/proxy-agent.js'),
    import('undici/lib/api/api-connect.js'),
  ]);
  return new ProxyAgent({
    ...common,
    uri: proxy.url,
    // Two contexts, so that the proxy does not receive the client certificate.
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
          connect: connector(options.connect),
        }),
      }),
    // undici's index adds `connect` to every dispatcher, but this program does not load the index.
    // The response to CONNECT counts as a part of the connection.
    clientFactory: (origin, options) =>
      Object.assign(new Pool(origin, { ...options, headersTimeout: connectTimeout }), { connect }),
  });
}

/** Tries the next connector if a connector does not verify the certificate of the server. */
function inTurn([first, ...others]: readonly buildConnector.connector[]): buildConnector.connector {
  if (first === undefined) throw new RangeError('no connector');
  if (others.length === 0) return first;
  const next = inTurn(others);
  return (target, callback) => {
    first(target, (...result) => {
      const [error] = result;
      if (error === null || verificationCode(error) === undefined) callback(...result);
      else next(target, callback);
    });
  };
}

/**
 * Destroys a socket at its first error. A server that rejects the client certificate sends a
 * TLS alert and then closes the connection, and undici would report only the close. Also
 * remembers the server's certificate for the error, because Node drops the certificate with
 * the socket.
 */
function destroyOnFirstError(
  connect: buildConnector.connector,
  onCertificate?: (certificate: X509Certificate) => void,
): buildConnector.connector {
  return (target, callback) => {
    let certificate: X509Certificate | undefined;
    const inspect = (socket: unknown): void => {
      if (certificate !== undefined || !(socket instanceof TLSSocket)) return;
      certificate = socket.getPeerX509Certificate();
      if (certificate !== undefined) onCertificate?.(certificate);
    };
    const pending: unknown = connect(target, (...result) => {
      const [error, socket] = result;
      socket?.on('error', () => socket.destroy());
      if (onCertificate !== undefined) inspect(socket);
      if (error !== null && certificate !== undefined) rememberCertificate(error, certificate);
      callback(...result);
    });
    if (!(pending instanceof TLSSocket)) return;
    // Node verifies the certificate in its own listener of this event.
    pending.prependOnceListener('secure', () => {
      inspect(pending);
    });
  };
}
