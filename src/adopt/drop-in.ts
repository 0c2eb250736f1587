import { basename, dirname, join } from 'node:path';
import { stringify } from 'yaml';
import type { KubeletLayer } from '../kubelet/configuration.ts';
import type { SettingKey, Wanted } from './wanted.ts';

/** The text of the drop-in. The kubelet refuses one without apiVersion and kind. */
export function dropInText({ settings }: Pick<Wanted, 'settings'>): string {
  const document = {
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    ...Object.fromEntries(settings),
  };
  return `# The certificates of this kubelet are kept by nodecertd; nodecertd adopt --revert takes this away.\n${stringify(document, { lineWidth: 0, version: '1.1', compat: 'core' })}`;
}

/** Room for others behind the first; whatever has `~` or the like for a first letter comes last. */
const candidates = ['90-nodecertd.conf', '99-nodecertd.conf', 'zz-nodecertd.conf'];

/**
 * Where the drop-in goes: our own where it is already, or the first name behind all files
 * that have a word on the settings. Undefined when no name is late enough.
 */
export function dropInFile(
  directory: string,
  dropIns: readonly KubeletLayer[],
  settings: readonly SettingKey[],
): string | undefined {
  const others = dropIns
    .filter(({ file }) => !isOurs(directory, file))
    .filter((layer) => settings.some((key) => key in layer.settings));
  const own = dropIns.filter(({ file }) => isOurs(directory, file)).map(({ file }) => file);
  const names = [...own, ...candidates.map((name) => join(directory, name))];
  return names.find((file) => others.every((other) => comesBefore(other.file, file)));
}

function isOurs(directory: string, file: string): boolean {
  return dirname(file) === join(directory, '.') && /(?:^|-)nodecertd\.conf$/.test(basename(file));
}

/** In the order of filepath.WalkDir: part by part, and not as a whole, where `/` sorts behind `.`. */
function comesBefore(file: string, other: string): boolean {
  const [left, right] = [file.split('/'), other.split('/')];
  const at = left.findIndex((part, index) => part !== right[index]);
  return at !== -1 && (left[at] ?? '') < (right[at] ?? '');
}
