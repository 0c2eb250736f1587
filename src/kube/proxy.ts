import { BlockList, isIP } from 'node:net';
import { domainToASCII } from 'node:url';
import { AgentError } from '../core/errors.ts';
import { hostOf } from '../core/host-port.ts';
import type { ClusterEndpoint } from './cluster-access.ts';

/** The HTTP proxy that connections to an API server go through. */
export interface Proxy {
  /** May contain a password: show `label` instead. */
  readonly url: string;
  /** The source of the address: `proxy-url`, or the name of an environment variable. */
  readonly source: string;
  /** For messages, without user and password: `proxy.example.com:3128 (HTTPS_PROXY)`. */
  readonly label: string;
}

export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * The proxy for a cluster: proxy-url of the kubeconfig first, then the environment, as
 * in client-go (rest.Config.Proxy, otherwise http.ProxyFromEnvironment). HTTP_PROXY never
 * applies, because it is for http:// addresses and API servers have https:// addresses.
 * @throws AgentError API_UNREACHABLE when the variable does not contain a usable URL
 */
export function proxyFor(
  {
    server,
    proxyUrl,
    ignoresProxyVariables,
  }: Pick<ClusterEndpoint, 'server' | 'proxyUrl' | 'ignoresProxyVariables'>,
  environment: Environment = process.env,
): Proxy | undefined {
  if (proxyUrl !== undefined) return describe(new URL(proxyUrl), proxyUrl, 'proxy-url');
  const variable = firstSet(environment, 'HTTPS_PROXY', 'https_proxy');
  if (ignoresProxyVariables === true || variable === undefined) return undefined;
  const bypass = firstSet(environment, 'NO_PROXY', 'no_proxy')?.value ?? '';
  if (isDirect(new URL(server), bypass)) return undefined;
  const url = parseProxy(variable.value);
  if (url === undefined) throw unusable(variable.name);
  return describe(url, url.href, variable.name);
}

function describe({ protocol, host }: URL, url: string, source: string): Proxy {
  const shown = protocol === 'https:' ? `https://${host}` : host;
  return { url, source, label: `${shown} (${source})` };
}

function firstSet(
  environment: Environment,
  ...names: readonly string[]
): { readonly name: string; readonly value: string } | undefined {
  return names
    .map((name) => ({ name, value: environment[name] ?? '' }))
    .find(({ value }) => value !== '');
}

/** `host:port` without a scheme means http, as in Go's httpproxy. */
export function parseProxy(value: string): URL | undefined {
  const url = [value, `http://${value}`]
    .map((text) => URL.parse(text))
    .find((parsed) => parsed?.host);
  if (!url || !['http:', 'https:'].includes(url.protocol)) return undefined;
  return isDecodable(url) ? url : undefined;
}

/** False if the user or the password contains a percent sign that does not begin an escape. */
export function isDecodable({ username, password }: URL): boolean {
  try {
    return [username, password].map(decodeURIComponent).length === 2;
  } catch {
    return false;
  }
}

/** Omits the value, which may contain a password. */
function unusable(variable: string): AgentError {
  return new AgentError(
    'API_UNREACHABLE',
    `the environment variable ${variable} does not contain the URL of an http:// or https:// proxy`,
    {
      remedy: `Set ${variable} to a URL such as http://proxy.example.com:3128: systemctl edit nodecertd`,
    },
  );
}

interface Target {
  readonly host: string;
  readonly port: string;
}

/**
 * True if connections to the server bypass the proxy of the environment. The rules are those
 * of golang.org/x/net/http/httpproxy: localhost, loopback addresses and every server that an
 * entry of NO_PROXY matches bypass the proxy. Invalid entries match nothing.
 */
function isDirect(server: URL, noProxy: string): boolean {
  const host = hostOf(server);
  if (host === 'localhost' || loopback.some((network) => isInside(host, network))) return true;
  const target = { host, port: server.port || '443' };
  const entries = noProxy.split(',').map((entry) => entry.trim().toLowerCase());
  return entries.some((entry) => entry === '*' || matches(entry, target));
}

const loopback = ['127.0.0.0/8', '::1/128'];

function matches(entry: string, target: Target): boolean {
  if (isNetwork(entry)) return isInside(target.host, entry);
  const { host, port } = splitHostPort(entry);
  if (host === '' || (port !== '' && port !== target.port)) return false;
  const family = familyOf(host);
  if (family !== 0) return isInside(target.host, `${host}/${widths[family]}`);
  return familyOf(target.host) === 0 && matchesDomain(host, target.host);
}

/** `example.com` matches itself and its subdomains, `.example.com` and `*.example.com` only those. */
function matchesDomain(pattern: string, host: string): boolean {
  const domain = pattern.replace(/^\*\./, '.');
  const suffix = toAscii(domain.replace(/^\./, ''));
  return host.endsWith(`.${suffix}`) || (!domain.startsWith('.') && host === suffix);
}

/** URL.hostname is in ASCII, so an entry in another script has to be converted. */
function toAscii(domain: string): string {
  return /^[ -~]*$/.test(domain) ? domain : domainToASCII(domain) || domain;
}

/** As net.SplitHostPort in Go: an IPv6 address with a port needs brackets. */
function splitHostPort(entry: string): Target {
  const [, bracketed, plain, port = ''] = /^(?:\[(.*)\]|([^:[\]]*)):([^:]*)$/.exec(entry) ?? [];
  const host = bracketed ?? plain;
  return host === undefined ? { host: entry, port: '' } : { host, port };
}

function isNetwork(entry: string): boolean {
  const [, address = '', bits = ''] = /^([^/]+)\/(\d{1,3})$/.exec(entry) ?? [];
  const family = familyOf(address);
  return family !== 0 && Number(bits) <= widths[family];
}

/**
 * As net.IPNet.Contains in Go: `::ffff:10.0.0.1` is 10.0.0.1, and IPv4 addresses are in
 * no IPv6 network, not even `::/0`.
 */
function isInside(host: string, network: string): boolean {
  const family = familyOf(host);
  if (family === 0) return false;
  const [address = '', bits] = network.split('/');
  const isIpv4 = family === 4 || /^::ffff:[0-9a-f]+:[0-9a-f]+$/.test(host);
  if (isIpv4 && familyOf(address) === 6 && Number(bits) < 96) return false;
  const list = new BlockList();
  list.addSubnet(address, Number(bits), familyOf(address) === 4 ? 'ipv4' : 'ipv6');
  return list.check(host, family === 4 ? 'ipv4' : 'ipv6');
}

const widths = { 4: 32, 6: 128 } as const;

function familyOf(text: string): 0 | 4 | 6 {
  return text.includes('%') ? 0 : (isIP(text) as 0 | 4 | 6);
}
