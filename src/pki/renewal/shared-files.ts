import type { Failure } from '../../core/errors.ts';
import type { Target } from './existing-certificate.ts';
import type { PlannedCertificate } from './renewal-plan.ts';

/**
 * Refuses a certificate whose files, after links, are those of another one in this run: the second
 * renewal would replace the files of the first.
 */
export function refuseSharedFiles(planned: readonly PlannedCertificate[]): PlannedCertificate[] {
  const owners = new Map<string, string>();
  return planned.map((one) => {
    if (one.kind !== 'renew') return one;
    const { entry, target } = one.item;
    const paths = pathsOf(target);
    const file = paths.find((path) => owners.has(path));
    if (file !== undefined) {
      const owner = owners.get(file) ?? '';
      return { kind: 'refused', entry, file, failure: shared({ file, name: entry.name, owner }) };
    }
    for (const path of paths) owners.set(path, entry.name);
    return one;
  });
}

function pathsOf(target: Target): string[] {
  return target.kind === 'pair'
    ? [target.certificate.path, target.key.path]
    : [target.kubeconfig.path];
}

function shared({
  file,
  name,
  owner,
}: {
  readonly file: string;
  readonly name: string;
  readonly owner: string;
}): Failure {
  return {
    code: 'PAIR_MALFORMED',
    message: `${file} belongs to ${owner} and to ${name}`,
    remedy: `Give ${name} a certificate and a key of its own, or renew only ${owner}`,
  };
}
