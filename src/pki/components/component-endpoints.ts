import { join } from 'node:path';
import { hostOf } from '../../core/host-port.ts';
import { canonicalIp } from '../../core/ip-address.ts';
import type { LocalKubelet } from '../../kubelet/local-kubelet.ts';
import { flagValue, namedCertificates } from './component-flags.ts';
import type { Component, ComponentFlag, ComponentName } from './component.ts';
import type { Serving } from './serving.ts';
import { certificateInDirectory, servingOf } from './serving.ts';

/** A TLS endpoint of a component on this machine. */
export interface ComponentEndpoint {
  readonly component: ComponentName;
  /** `kube-apiserver`, `etcd-client`, `etcd-peer` */
  readonly name: string;
  readonly host: string;
  readonly port: number;
  /** The name to ask for (SNI); absent to ask for none. */
  readonly serverName?: string;
  /** The file on the node whose certificate the endpoint has to serve; absent if it was made in memory. */
  readonly certificateFile?: string;
}

/** The name under which kube-apiserver connects to itself (apiserver, server.go, LoopbackClientServerNameOverride). */
const loopbackName = 'apiserver-loopback-client';

/** The endpoints that a component serves on this machine, by its flags. */
export function componentEndpoints(component: Component): ComponentEndpoint[] {
  if (!component.sharesNetwork) return [];
  if (component.name === 'etcd') return etcdEndpoints(component);
  const serving = servingOf(component.name);
  return serving === undefined ? [] : secureEndpoints(component, serving);
}

/** A port that shows to everyone whether a component is healthy. */
export interface HealthPort {
  readonly host: string;
  readonly port: number;
  /** The path for a port without TLS; by default /healthz over TLS. */
  readonly plainPath?: string;
}

/** Undefined if the component turns the port off, or answers there only with a client certificate. */
export function healthPort(component: Component): HealthPort | undefined {
  if (component.name !== 'etcd') return componentEndpoints(component)[0];
  const text = (flagValue(component.flags, 'listen-metrics-urls') ?? '').split(',')[0]?.trim();
  const url = text === undefined ? null : URL.parse(text);
  const host = url?.protocol === 'http:' ? hostToDial(hostOf(url)) : undefined;
  const port = portIn(url?.port || undefined, 80);
  if (!component.sharesNetwork || host === undefined || port === undefined) return undefined;
  return { host, port, plainPath: '/health' };
}

/** The options of SecureServingOptions, which all components of Kubernetes have. */
function secureEndpoints(component: Component, serving: Serving): ComponentEndpoint[] {
  const { name, flags } = component;
  const port = portIn(flagValue(flags, 'secure-port'), serving.port);
  const host = hostToDial(flagValue(flags, 'bind-address') ?? '');
  if (port === undefined || host === undefined) return [];
  const file = flagValue(flags, 'tls-cert-file') ?? certificateInDirectory(component);
  const common = { component: name, name, host, port };
  const named = namedCertificates(flags).flatMap(({ certificateFile, names }) =>
    names.filter(isServerName).map((name) => ({
      ...common,
      ...targetOf(name),
      ...served(component, certificateFile),
    })),
  );
  return [
    { ...common, ...served(component, file) },
    ...named,
    ...(name === 'kube-apiserver' ? [{ ...common, serverName: loopbackName }] : []),
  ];
}

/** A DNS name, a wildcard or an address. */
function isServerName(name: string): boolean {
  return /^(?:\*\.)?[\w.-]{1,253}$/.test(name) || canonicalIp(name) !== undefined;
}

/** A server compares an IP address with the address that the client has dialed. */
function targetOf(pattern: string): { readonly serverName: string } | { readonly host: string } {
  const address = canonicalIp(pattern);
  return address === undefined
    ? { serverName: pattern.replace(/^\*\./, 'nodecertd.') }
    : { host: address };
}

function served(
  { hostPath }: Component,
  file: string | undefined,
): Pick<ComponentEndpoint, 'certificateFile'> {
  const path = file === undefined ? undefined : hostPath(file);
  return path === undefined ? {} : { certificateFile: path };
}

/** The ports for clients and for peers. One listener each is enough: all have the same certificate. */
function etcdEndpoints(component: Component): ComponentEndpoint[] {
  const { flags } = component;
  return [
    ['etcd-client', 'listen-client-urls', 'cert-file'] as const,
    ['etcd-peer', 'listen-peer-urls', 'peer-cert-file'] as const,
  ].flatMap(([name, urls, file]) => {
    const place = listenerIn(flags, urls);
    const certificate = served(component, flagValue(flags, file));
    return place === undefined ? [] : [{ component: 'etcd', name, ...place, ...certificate }];
  });
}

function listenerIn(
  flags: readonly ComponentFlag[],
  name: string,
): Pick<ComponentEndpoint, 'host' | 'port'> | undefined {
  const urls = (flagValue(flags, name) ?? '').split(',').map((url) => URL.parse(url.trim()));
  const places = urls.flatMap((url) => {
    const host = hostToDial(url === null ? '' : hostOf(url));
    const port = url?.protocol === 'https:' ? portIn(url.port || '443', 0) : undefined;
    return url === null || host === undefined || port === undefined ? [] : [{ host, port }];
  });
  return places.find(({ host }) => host === loopback) ?? places[0];
}

const loopback = '127.0.0.1';

/**
 * The address for a server that listens on this address: loopback for one that listens on all.
 * Undefined for other texts than addresses, with which no component starts, and for a variable,
 * whose value only the container knows.
 */
function hostToDial(address: string): string | undefined {
  return ['', 'localhost', '0.0.0.0', '::'].includes(address) ? loopback : canonicalIp(address);
}

/** Undefined for 0, which turns the port off, and for an invalid port, with which no component starts. */
function portIn(text: string | undefined, usual: number): number | undefined {
  const port = text === undefined ? usual : Number(text);
  return Number.isInteger(port) && port > 0 && port < 65_536 ? port : undefined;
}

/**
 * The port of the kubelet's API. Without tlsCertFile, the kubelet serves the certificate that it
 * has requested (serverTLSBootstrap), or a self-signed one.
 */
export function kubeletEndpoint(kubelet: LocalKubelet): ComponentEndpoint | undefined {
  const { found, certificateDirectory, serverTLSBootstrap, tlsCertFile } = kubelet;
  const port = portIn(String(kubelet.port), 0);
  const host = hostToDial(kubelet.address);
  if (!found || port === undefined || host === undefined) return undefined;
  const own = serverTLSBootstrap ? 'kubelet-server-current.pem' : 'kubelet.crt';
  return {
    component: 'kubelet',
    name: 'kubelet',
    host,
    port,
    certificateFile: tlsCertFile ?? join(certificateDirectory, own),
  };
}
