import { canonicalAltNames } from '../core/alt-names.ts';
import { parseCaPin } from '../core/ca-pin.ts';
import { resolve } from 'node:path';
import type { AddressSource, CertificateSpec } from '../core/certificate-spec.ts';
import {
  kubeletClientSigner,
  kubeletServingSigner,
  kubeletUsages,
  nodeSubject,
} from '../core/certificate-spec.ts';
import type { SubjectAltNames, Usage } from '../core/certificate.ts';
import { usages } from '../core/certificate.ts';
import type { RotationWindow } from '../core/schedule.ts';
import { kubeletWindow } from '../core/schedule.ts';
import type { AgentConfig, BootstrapConfig, PkiConfig, TrustConfig } from '../core/config.ts';
import { parseFingerprint } from '../core/fingerprint.ts';
import type { HookSpec, ServedSpec } from '../core/hooks.ts';
import { parseDuration } from './duration.ts';
import { isLoopback, parseApiEndpoint, parseHostPort } from '../core/host-port.ts';
import { parsePercentage } from './percentage.ts';
import type {
  BootstrapEntry,
  CertificateEntry,
  ConfigFile,
  TrustEntry,
  WindowEntry,
} from './schema.ts';

/** Paths in the file are relative to its directory, no matter where the agent starts. */
export function resolveConfig(
  file: ConfigFile,
  { nodeName, folder }: { readonly nodeName: string; readonly folder: string },
): AgentConfig {
  const { host, port } = parseHostPort(file.metrics.address) ?? { host: '127.0.0.1', port: 0 };
  return {
    nodeName,
    kubeconfig: resolve(folder, file.kubeconfig),
    ...(file.bootstrapKubeconfig !== undefined && {
      bootstrapKubeconfig: resolve(folder, file.bootstrapKubeconfig),
    }),
    bootstrap: resolveBootstrap(file.bootstrap, folder),
    certificateDirectory: resolve(folder, file.certificateDirectory),
    stateDirectory: resolve(folder, file.stateDirectory),
    certificates: file.certificates.map((entry) =>
      resolveCertificate({ ...entry, rotation: entry.rotation ?? file.rotation }, nodeName),
    ),
    store: file.store,
    addressRefreshSeconds: parseDuration(file.addressRefresh) ?? 1_800,
    kubelet: {
      configFile: resolve(folder, file.kubelet.configFile),
      ...(file.kubelet.configDirectory !== undefined && {
        configDirectory: resolve(folder, file.kubelet.configDirectory),
      }),
      certificateDirectory: resolve(folder, file.kubelet.certificateDirectory),
      deferToKubelet: file.kubelet.deferToKubelet,
    },
    metrics: { host, port, kubeletNames: file.metrics.kubeletNames },
    inventory: {
      enabled: file.inventory.enabled,
      intervalSeconds: parseDuration(file.inventory.interval) ?? 600,
      paths: file.inventory.paths.map((pattern) => resolve(folder, pattern)),
    },
    ...(file.pki.enabled && { pki: resolvePki(file, folder) }),
    ...(file.trust.enabled && { trust: resolveTrust(file.trust, folder) }),
    log: file.log,
  };
}

function resolveBootstrap(
  { discovery, deleteAfterUse }: BootstrapEntry,
  folder: string,
): BootstrapConfig {
  if (discovery === undefined) return { deleteAfterUse };
  const { endpoints, tokenFile, caCertHashes } = discovery;
  return {
    deleteAfterUse,
    discovery: {
      endpoints: endpoints.flatMap((text) => parseApiEndpoint(text) ?? []),
      tokenFile: resolve(folder, tokenFile),
      pins: caCertHashes.flatMap((text) => parseCaPin(text) ?? []),
    },
  };
}

function resolvePki({ pki, rotation }: ConfigFile, folder: string): PkiConfig {
  return {
    directory: resolve(folder, pki.directory),
    rotationWindow: resolveWindow(pki.rotation ?? rotation),
    ...(pki.window !== undefined && { maintenanceWindow: pki.window }),
    hooks: pki.hooks.map(resolveHook),
  };
}

function resolveTrust(trust: TrustEntry, folder: string): TrustConfig {
  const { file, issuer, externalize, kubelet, holdServing, drop } = trust;
  const fingerprint = issuer === undefined ? undefined : parseFingerprint(issuer);
  return {
    ...(file !== undefined && { file: resolve(folder, file) }),
    pins: trust.caCertHashes.flatMap((text) => parseCaPin(text) ?? []),
    kubeconfigs: trust.kubeconfigs.map((path) => resolve(folder, path)),
    files: trust.files.map((path) => resolve(folder, path)),
    externalize,
    kubelet,
    spreadSeconds: parseDuration(trust.spread) ?? 600,
    ...(fingerprint !== undefined && { issuer: fingerprint }),
    reissueSpreadSeconds: parseDuration(trust.reissueSpread) ?? 3_600,
    holdServing,
    drop,
    dropAfterSeconds: parseDuration(trust.dropAfter) ?? 86_400,
    hooks: trust.onTrustChange.map(resolveHook),
  };
}

/** Questionable settings that are allowed, one sentence each. */
export function warningsOf(file: ConfigFile): string[] {
  const address = parseHostPort(file.metrics.address);
  const unsupported = file.certificates.filter(
    (entry) =>
      entry.profile === 'custom' &&
      entry.usages.includes('key encipherment') &&
      !entry.key.algorithm.startsWith('rsa-'),
  );
  const { bootstrap, bootstrapKubeconfig } = file;
  return [
    ...(bootstrap.deleteAfterUse &&
    bootstrapKubeconfig === undefined &&
    bootstrap.discovery === undefined
      ? [
          'bootstrap.deleteAfterUse has no effect without bootstrapKubeconfig or bootstrap.discovery',
        ]
      : []),
    ...(address === undefined || isLoopback(address.host)
      ? []
      : [
          `metrics.address ${file.metrics.address} is open to the network: every machine there can read the names, addresses and expiry of the certificates`,
        ]),
    ...unsupported.map(
      ({ name, key }) =>
        `certificate ${name} has the usage key encipherment, which ${key.algorithm} keys do not support`,
    ),
  ];
}

/** Fills in the values of the profile. Schema and rules have checked the entry. */
function resolveCertificate(
  entry: CertificateEntry & { readonly rotation: WindowEntry },
  nodeName: string,
): CertificateSpec {
  const key = entry.key.algorithm;
  const base = {
    name: entry.name,
    profile: entry.profile,
    key,
    rotationWindow: resolveWindow(entry.rotation),
    ...(entry.expirationSeconds !== undefined && { expirationSeconds: entry.expirationSeconds }),
    ...(entry.onRotate.length > 0 && { onRotate: entry.onRotate.map(resolveHook) }),
  };
  switch (entry.profile) {
    case 'kubelet-client':
      return {
        ...base,
        signerName: kubeletClientSigner,
        subject: nodeSubject(nodeName),
        usages: kubeletUsages('client auth', key),
        // The approver does not approve a CSR for a node's client certificate with a SAN.
        addresses: 'static',
        static: { dnsNames: [], ipAddresses: [] },
        selfSignedUntilIssued: false,
      };
    case 'kubelet-serving':
      return {
        ...base,
        signerName: kubeletServingSigner,
        subject: nodeSubject(nodeName),
        usages: kubeletUsages('server auth', key),
        ...resolveNames(entry),
      };
    case 'custom':
      return {
        ...base,
        signerName: entry.signerName,
        subject: entry.subject,
        usages: inCanonicalOrder(entry.usages),
        ...resolveNames(entry),
      };
    default:
      return entry satisfies never;
  }
}

function resolveWindow({ from, to }: WindowEntry): RotationWindow {
  return {
    from: parsePercentage(from) ?? kubeletWindow.from,
    to: parsePercentage(to) ?? kubeletWindow.to,
  };
}

type HookEntry = CertificateEntry['onRotate'][number];

/** rules.ts requires exactly one kind. */
function resolveHook(hook: HookEntry): HookSpec {
  const { command, systemctl: verb, signal, unit = '', retries } = hook;
  const limits = { timeoutMs: milliseconds(hook.timeout), retries };
  if (command !== undefined) return { kind: 'command', argv: command, ...limits };
  return verb === undefined
    ? { kind: 'signal', signal: signal ?? 'SIGHUP', unit, ...limits }
    : { kind: 'systemctl', verb, unit, ...limits };
}

function resolveServed(served: NonNullable<ServingEntry['served']>): ServedSpec {
  const { endpoints, serverName, within, onFailure } = served;
  return {
    endpoints: endpoints.map((name) => ({
      name,
      ...(parseHostPort(name) ?? { host: '127.0.0.1', port: 0 }),
    })),
    ...(serverName !== undefined && { serverName: serverName.toLowerCase() }),
    withinMs: milliseconds(within),
    onFailure,
  };
}

function milliseconds(duration: string): number {
  return (parseDuration(duration) ?? 0) * 1_000;
}

type ServingEntry = Exclude<CertificateEntry, { profile: 'kubelet-client' }>;

function resolveNames(
  entry: ServingEntry,
): Pick<CertificateSpec, 'addresses' | 'static' | 'selfSignedUntilIssued' | 'served'> {
  const from: AddressSource = entry.addresses.from;
  return {
    ...(entry.served !== undefined && { served: resolveServed(entry.served) }),
    addresses: from,
    static: canonicalNames({
      dnsNames: [...entry.dnsNames, ...entry.addresses.dnsNames],
      ipAddresses: [...entry.ipAddresses, ...entry.addresses.ipAddresses],
    }),
    selfSignedUntilIssued: entry.selfSignedUntilIssued,
  };
}

function canonicalNames({ dnsNames, ipAddresses }: SubjectAltNames): SubjectAltNames {
  return canonicalAltNames({ dnsNames, ipAddresses });
}

/**
 * In the order of the API and without duplicates, so that a reordered file does not count as a
 * changed certificate.
 */
function inCanonicalOrder(requested: readonly Usage[]): Usage[] {
  return usages.filter((usage) => requested.includes(usage));
}
