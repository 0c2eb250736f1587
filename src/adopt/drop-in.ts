import { basename, dirname, join } from 'node:path';
import { stringify } from 'yaml';
import type { KubeletLayer } from '../kubelet/configuration.ts';
import type { SettingKey } from '../kubelet/flags.ts';
import type { Targets } from './targets.ts';

/** The kubelet rejects a drop-in without apiVersion and kind. */
export function dropInText({ settings }: Targets): string {
  const document = {
    apiVersion: 'kubelet.config.k8s.io/v1beta1',
    kind: 'KubeletConfiguration',
    ...Object.fromEntries(settings),
  };
  return `# nodecertd keeps the certificates of this kubelet. nodecertd adopt --revert removes this file.\n${stringify(document, { lineWidth: 0, version: '1.1', compat: 'core' })}`;
}

const dropInNames = ['90-nodecertd.conf', '99-nodecertd.conf', 'zz-nodecertd.conf'];

/**
 * Our existing drop-in, or else the first name that sorts after all files with the same
 * keys. Undefined when no name sorts late enough.
 */
export function dropInFile(
  directory: string,
  dropIns: readonly KubeletLayer[],
  settings: readonly SettingKey[],
): string | undefined {
  const isOurs = ({ file }: KubeletLayer): boolean =>
    dirname(file) === join(directory, '.') && /(?:^|-)nodecertd\.conf$/.test(basename(file));
  const others = dropIns
    .filter((layer) => !isOurs(layer))
    .filter((layer) => settings.some((key) => key in layer.settings));
  const names = [
    ...dropIns.filter(isOurs).map(({ file }) => file),
    ...dropInNames.map((name) => join(directory, name)),
  ];
  return names.find((file) => others.every((other) => sortsBefore(other.file, file)));
}

/** In the order of filepath.WalkDir, which compares part by part: `/` sorts after `.` in a whole path. */
function sortsBefore(file: string, other: string): boolean {
  const [left, right] = [file.split('/'), other.split('/')];
  const at = left.findIndex((part, index) => part !== right[index]);
  return at !== -1 && (left[at] ?? '') < (right[at] ?? '');
}
