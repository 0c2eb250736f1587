import { canonicalIp } from './ip-address.ts';
import { isDnsName } from './host-name.ts';

export interface HostPort {
  /** An IP address without brackets, or a host name. */
  readonly host: string;
  readonly port: number;
}

/**
 * Parses `127.0.0.1:9471`, `[::1]:9471` or `localhost:9471`. Refuses a missing host, which many
 * programs read as all interfaces: an operator must write 0.0.0.0.
 */
export function parseHostPort(text: string): HostPort | undefined {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535) return undefined;
  const [, bracketed, plain] = match;
  if (bracketed !== undefined) {
    const host = bracketed.includes(':') ? canonicalIp(bracketed) : undefined;
    return host === undefined ? undefined : { host, port };
  }
  const host = canonicalIp(plain ?? '') ?? plain?.toLowerCase() ?? '';
  // `1.2.3.400` is a mistyped address, although it is a valid DNS name.
  return isDnsName(host) && (canonicalIp(host) !== undefined || !/^[\d.]+$/.test(host))
    ? { host, port }
    : undefined;
}

/** @param port a number, or a text such as the value of a variable */
export function formatHostPort({
  host,
  port,
}: {
  readonly host: string;
  readonly port: number | string;
}): string {
  return `${withBrackets(host)}:${port}`;
}

/** The host as a URL contains it: `[fd00::1]` for an IPv6 address. */
function withBrackets(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}

/** The host of a URL without the brackets of an IPv6 address. */
export function hostOf({ hostname }: Pick<URL, 'hostname'>): string {
  return hostname.replace(/^\[(.*)\]$/, '$1');
}

/** True when only programs on this machine can connect. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d+){3}$/.test(host);
}

/**
 * Parses the address of an API server as administrators write it: `10.0.0.1`, `[fd00::1]:6443`,
 * `fd00::1` or `https://api.example.com:8443/`. The default port is 6443, as in kubeadm.
 */
export function parseApiEndpoint(text: string): HostPort | undefined {
  const bare = text.replace(/^https:\/\/([^/]*)\/?$/i, '$1');
  const address = canonicalIp(bare);
  if (address !== undefined) return { host: address, port: apiPort };
  const endpoint = parseHostPort(/:\d+$/.test(bare) ? bare : `${bare}:${apiPort}`);
  return endpoint === undefined || endpoint.port === 0 || !isUrlHost(endpoint)
    ? undefined
    : endpoint;
}

/**
 * False for a wildcard, and for a name such as `a.1` or `0x7f.1`: a URL reads a host with a number at its
 * end as an IPv4 address (WHATWG URL, 3.5).
 */
function isUrlHost(endpoint: HostPort): boolean {
  const { host } = endpoint;
  if (host.includes('*')) return false;
  const hostname = URL.parse(`https://${formatHostPort(endpoint)}`)?.hostname;
  return hostname === withBrackets(host);
}

const apiPort = 6_443;
