import buildConnector from 'undici/lib/core/connect.js';
import Pool from 'undici/lib/dispatcher/pool.js';
import type { Dispatcher } from 'undici';
import type { ClusterAccess } from './cluster-access.ts';
import { proxyFor } from './proxy.ts';
import { proxyTlsContext, tlsContext } from './tls-context.ts';

/**
 * Connections to one API server under one identity. Never shared and never
 * re-used for another identity: open connections, and TLS sessions resumed within
 * one dispatcher, go on under the certificate they began with (k/k #49899).
 *
 * HTTP/1.1 on purpose. It takes one socket more while a watch is open, but a dead
 * connection costs one request: the deadline destroys the socket with it, where
 * HTTP/2 would go on sending into the dead one (k/k #87615).
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
  // Deadlines and silence are watched by the client itself, on the injected clock.
  const common = { allowH2: false, headersTimeout: 0, bodyTimeout: 0 };
  const proxy = proxyFor(access.cluster);
  if (proxy === undefined) {
    return new Pool(new URL(server).origin, {
      ...common,
      connect: tidy(buildConnector(toServer)),
    });
  }
  const [{ default: ProxyAgent }, { default: connect }] = await Promise.all([
    import('undici/lib/dispatcher/proxy-agent.js'),
    import('undici/lib/api/api-connect.js'),
  ]);
  return new ProxyAgent({
    ...common,
    uri: proxy.url,
    // Both are needed: what is meant for the API server must not reach the proxy, nor the other way round.
    requestTls: toServer,
    proxyTls: {
      secureContext: proxyTlsContext(access),
      timeout: connectTimeout,
      allowH2: false,
    },
    factory: (origin, options: Pool.Options) =>
      new Pool(origin, {
        ...options,
        ...(typeof options.connect === 'function' && { connect: tidy(options.connect) }),
      }),
    // The package's index, which is not loaded, would have given `connect` to every dispatcher.
    clientFactory: (origin, options) => Object.assign(new Pool(origin, options), { connect }),
  });
}

/**
 * A way to connect whose sockets take their first error for the last: a server that
 * refuses our certificate says so in an alert and then closes, and undici would
 * report the closing.
 */
function tidy(connect: buildConnector.connector): buildConnector.connector {
  return (target, callback) => {
    connect(target, (...result) => {
      const [, socket] = result;
      socket?.on('error', () => socket.destroy());
      callback(...result);
    });
  };
}
