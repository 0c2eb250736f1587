import { basename } from 'node:path';
import { parseBootstrapToken } from '../core/bootstrap-token.ts';
import type {
  BootstrapEntry,
  CertificateEntry,
  PkiEntry,
  TrustEntry,
  WindowEntry,
} from './schema.ts';
import { prefixObjection } from './names.ts';
import { parsePercentage } from './percentage.ts';
import type { Problem } from './problem.ts';
import { describeValue } from './problem.ts';

/** Rules between the keys of one certificate. Paths start at the certificate. */
export function certificateProblems(entry: CertificateEntry): Problem[] {
  const objection = prefixObjection(entry.name);
  return [
    ...(objection === undefined
      ? []
      : [{ path: ['name'], message: `${objection}, found ${describeValue(entry.name)}` }]),
    ...(entry.profile === 'kubelet-client' ? [] : servingProblems(entry)),
    ...(entry.rotation === undefined ? [] : windowProblems(entry.rotation)),
    ...hookListProblems('onRotate', entry.onRotate),
  ];
}

/** Rules between the keys of `pki`. Paths start there. */
export function pkiProblems({ rotation, hooks }: PkiEntry): Problem[] {
  return [
    ...(rotation === undefined ? [] : windowProblems(rotation)),
    ...hookListProblems('hooks', hooks),
  ];
}

/** Rules between the keys of `trust`. Paths start there. */
export function trustProblems({ kubelet, onTrustChange }: TrustEntry): Problem[] {
  const message = 'is required with kubelet: hook, and must have a hook that restarts the kubelet';
  const isMissing = kubelet === 'hook' && onTrustChange.length === 0;
  return [
    ...(isMissing ? [{ path: ['onTrustChange'], message }] : []),
    ...hookListProblems('onTrustChange', onTrustChange),
  ];
}

/** Rules of `bootstrap`. Paths start there. */
export function bootstrapProblems({ discovery }: BootstrapEntry): Problem[] {
  const name = new TextEncoder().encode(basename(discovery?.tokenFile ?? ''));
  using token = parseBootstrapToken(name);
  if (token === undefined) return [];
  // Without the value, which belongs in no log.
  const message =
    'is a bootstrap token: write it to a file, and set tokenFile to the path of the file';
  return [{ path: ['discovery', 'tokenFile'], message }];
}

/** The file and each certificate can have a window. The path starts at the map that contains it. */
export function windowProblems({ from, to }: WindowEntry): Problem[] {
  const [start = 0, end = Infinity] = [parsePercentage(from), parsePercentage(to)];
  if (start < end) return [];
  const message = `expected a percentage below rotation.to, ${to}, found ${describeValue(from)}`;
  return [{ path: ['rotation', 'from'], message }];
}

const hookKinds = ['command', 'systemctl', 'signal'] as const;

function hookListProblems(key: string, hooks: CertificateEntry['onRotate']): Problem[] {
  return hooks.flatMap((hook, index) =>
    hookProblems(hook).map(({ path, message }) => ({ path: [key, index, ...path], message })),
  );
}

function hookProblems(hook: CertificateEntry['onRotate'][number]): Problem[] {
  const given = hookKinds.filter((kind) => hook[kind] !== undefined);
  const [kind, second] = given;
  if (kind === undefined) {
    return [{ path: [], message: `a hook needs one of ${hookKinds.join(', ')}` }];
  }
  if (second !== undefined) {
    return [
      { path: [second], message: `a hook cannot have both ${kind} and ${second}: write two hooks` },
    ];
  }
  if (kind === 'command') {
    const message = 'belongs to systemctl or signal, not to command';
    return hook.unit === undefined ? [] : [{ path: ['unit'], message }];
  }
  if (hook.unit === undefined) {
    return [{ path: ['unit'], message: `is required: ${kind} needs the name of a unit` }];
  }
  return kind === 'signal' && !hook.unit.endsWith('.service')
    ? [{ path: ['unit'], message: 'only a .service unit has a main process that can be signaled' }]
    : [];
}

function servingProblems(
  entry: Exclude<CertificateEntry, { profile: 'kubelet-client' }>,
): Problem[] {
  const listed = [entry, entry.addresses].flatMap(({ dnsNames, ipAddresses }) => [
    ...dnsNames,
    ...ipAddresses,
  ]);
  const problems: Problem[] = [];
  if (entry.addresses.from === 'static' && listed.length === 0 && servesTls(entry)) {
    problems.push({
      path: entry.profile === 'custom' ? ['usages'] : ['addresses', 'from'],
      message:
        'a serving certificate needs a name: list dnsNames or ipAddresses, or set addresses.from to node or interfaces',
    });
  }
  if (entry.selfSignedUntilIssued && !servesTls(entry)) {
    problems.push({
      path: ['selfSignedUntilIssued'],
      message:
        'only a serving certificate can be self-signed until it is issued, and usages do not include "server auth"',
    });
  }
  if (entry.served !== undefined && !servesTls(entry)) {
    problems.push({
      path: ['served'],
      message:
        'only a serving certificate can be checked on servers, and usages do not include "server auth"',
    });
  }
  return problems;
}

function servesTls(entry: CertificateEntry): boolean {
  return (
    entry.profile === 'kubelet-serving' ||
    (entry.profile === 'custom' && entry.usages.includes('server auth'))
  );
}

/**
 * Rules between the certificates of the list. Works on unchecked entries, so that an invalid
 * entry does not hide other problems.
 */
export function listProblems(entries: readonly unknown[]): Problem[] {
  const problems: Problem[] = [];
  const nameAt = new Map<unknown, number>();
  let clientAt: number | undefined;
  for (const [index, entry] of entries.entries()) {
    if (typeof entry !== 'object' || entry === null) continue;
    const { name, profile } = entry as { name?: unknown; profile?: unknown };
    const first = nameAt.get(name);
    if (first !== undefined && typeof name === 'string') {
      problems.push({
        path: ['certificates', index, 'name'],
        message: `${describeValue(name)} is already the name of certificates[${first}]`,
      });
    }
    nameAt.set(name, first ?? index);
    if (profile !== 'kubelet-client') continue;
    if (clientAt !== undefined) {
      problems.push({
        path: ['certificates', index, 'profile'],
        message: `certificates[${clientAt}] is already the client certificate of the kubelet, and the kubeconfig can name only one`,
      });
    }
    clientAt ??= index;
  }
  return problems;
}
