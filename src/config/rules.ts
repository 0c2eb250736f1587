import type { CertificateEntry } from './schema.ts';
import { prefixObjection } from './names.ts';
import type { Problem } from './problem.ts';
import { describeValue } from './problem.ts';

/** What must hold between the keys of one certificate. Paths start at the certificate. */
export function certificateProblems(entry: CertificateEntry): Problem[] {
  const objection = prefixObjection(entry.name);
  return [
    ...(objection === undefined
      ? []
      : [{ path: ['name'], message: `${objection}, found ${describeValue(entry.name)}` }]),
    ...(entry.profile === 'kubelet-client' ? [] : namedProblems(entry)),
    ...entry.onRotate.flatMap((hook, index) =>
      hookProblems(hook).map(({ path, message }) => ({
        path: ['onRotate', index, ...path],
        message,
      })),
    ),
  ];
}

const hookKinds = ['command', 'systemctl', 'signal'] as const;

function hookProblems(hook: CertificateEntry['onRotate'][number]): Problem[] {
  const given = hookKinds.filter((kind) => hook[kind] !== undefined);
  const [kind, second] = given;
  if (kind === undefined) {
    return [{ path: [], message: `a hook is one of ${hookKinds.join(', ')}` }];
  }
  if (second !== undefined) {
    return [{ path: [second], message: `a hook is either ${kind} or ${second}: make two of them` }];
  }
  if (kind === 'command') {
    const message = 'goes with systemctl or signal, and a command finds its own';
    return hook.unit === undefined ? [] : [{ path: ['unit'], message }];
  }
  if (hook.unit === undefined) {
    return [{ path: ['unit'], message: `is required: ${kind} needs the name of a unit` }];
  }
  return kind === 'signal' && !hook.unit.endsWith('.service')
    ? [{ path: ['unit'], message: 'only a .service has a main process to signal' }]
    : [];
}

function namedProblems(entry: Exclude<CertificateEntry, { profile: 'kubelet-client' }>): Problem[] {
  const listed = [entry, entry.addresses].flatMap(({ dnsNames, ipAddresses }) => [
    ...dnsNames,
    ...ipAddresses,
  ]);
  const problems: Problem[] = [];
  if (entry.addresses.from === 'static' && listed.length === 0 && servesTls(entry)) {
    problems.push({
      path: entry.profile === 'custom' ? ['usages'] : ['addresses', 'from'],
      message:
        'a serving certificate without any name: list dnsNames or ipAddresses, or take addresses from node or interfaces',
    });
  }
  if (entry.selfSignedUntilIssued && !servesTls(entry)) {
    problems.push({
      path: ['selfSignedUntilIssued'],
      message: 'only a server can start with a self-signed pair, and usages lack "server auth"',
    });
  }
  if (entry.served !== undefined && !servesTls(entry)) {
    problems.push({
      path: ['served'],
      message: 'only a server serves its certificate, and usages lack "server auth"',
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

/** What must hold between the certificates of the list. Works on raw entries, so that one broken entry hides nothing. */
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
        message: `${describeValue(name)} is the name of certificates[${first}] already`,
      });
    }
    nameAt.set(name, first ?? index);
    if (profile !== 'kubelet-client') continue;
    if (clientAt !== undefined) {
      problems.push({
        path: ['certificates', index, 'profile'],
        message: `certificates[${clientAt}] is the client certificate of the kubelet already, and the kubeconfig can name only one`,
      });
    }
    clientAt ??= index;
  }
  return problems;
}
