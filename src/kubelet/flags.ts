import { isAbsolute, join, normalize } from 'node:path';

/** The kubelet's flags that name its credentials, or determine whether the kubelet rotates them. */
export const kubeletFlagNames = [
  'config',
  'config-dir',
  'kubeconfig',
  'bootstrap-kubeconfig',
  'cert-dir',
  'hostname-override',
  'rotate-certificates',
  'rotate-server-certificates',
  'tls-cert-file',
  'tls-private-key-file',
] as const;

/** Flags of the kubelet that concern the certificates of the control plane, and the check of its own. */
const otherFlagNames = ['client-ca-file', 'pod-manifest-path', 'address', 'port'] as const;

const knownFlagNames = [...kubeletFlagNames, ...otherFlagNames] as const;

export type KubeletFlagName = (typeof knownFlagNames)[number];

/** The flag that overrides each setting of the configuration files. */
export const settingFlags = {
  rotateCertificates: 'rotate-certificates',
  serverTLSBootstrap: 'rotate-server-certificates',
  tlsCertFile: 'tls-cert-file',
  tlsPrivateKeyFile: 'tls-private-key-file',
} as const satisfies Readonly<Record<string, KubeletFlagName>>;

export type SettingKey = keyof typeof settingFlags;

/** The kubelet's own default of --cert-dir (cmd/kubelet/app/options, NewKubeletFlags). */
export const defaultCertificateDirectory = '/var/lib/kubelet/pki';

export interface KubeletFlag {
  readonly name: KubeletFlagName;
  readonly value: string;
}

/** All occurrences of each flag. The last occurrence takes effect. */
export type KubeletFlags = readonly KubeletFlag[];

/**
 * Finds the flags in a command line as pflag does for the kubelet: `--name=value` or
 * `--name value`, `_` for `-` (WordSepNormalizeFunc), nothing after `--`. A switch takes
 * its value after `=` only, and is true without one.
 */
export function parseKubeletFlags(words: readonly string[]): KubeletFlag[] {
  const flags: KubeletFlag[] = [];
  for (let at = 0; at < words.length; at += 1) {
    const word = words[at];
    if (word === undefined || word === '--') break;
    const match = /^--(?<name>[^=]+)(?:=(?<value>[^]*))?$/.exec(word)?.groups;
    const name = knownFlagNames.find((known) => known === match?.['name']?.replaceAll('_', '-'));
    if (name === undefined) continue;
    const given = match?.['value'];
    const next = given === undefined && !isSwitch(name) ? words[at + 1] : undefined;
    if (next !== undefined) at += 1;
    flags.push({ name, value: given ?? next ?? (isSwitch(name) ? 'true' : '') });
  }
  return flags;
}

function isSwitch(name: KubeletFlagName): boolean {
  return name === 'rotate-certificates' || name === 'rotate-server-certificates';
}

/** The last flag of this name, which takes effect; undefined if there is none. */
export function flagNamed(flags: KubeletFlags, name: KubeletFlagName): KubeletFlag | undefined {
  return flags.findLast((flag) => flag.name === name);
}

/**
 * The value of a setting that a flag sets; undefined for a switch with an invalid value, with
 * which the kubelet does not start.
 */
export function flagValue({ name, value }: KubeletFlag): boolean | string | undefined {
  return isSwitch(name) ? switchValue(value) : normalize(value);
}

/** Like strconv.ParseBool. */
function switchValue(text: string): boolean | undefined {
  if (/^(?:1|t|T|TRUE|true|True)$/.test(text)) return true;
  return /^(?:0|f|F|FALSE|false|False)$/.test(text) ? false : undefined;
}

/** The path that a flag gives, made absolute; undefined for a missing or empty flag. */
export function flaggedPath(
  { flags, workingDirectory }: { readonly flags: KubeletFlags; readonly workingDirectory: string },
  name: KubeletFlagName,
): string | undefined {
  const value = flagNamed(flags, name)?.value;
  if (value === undefined || value === '') return undefined;
  return isAbsolute(value) ? normalize(value) : join(workingDirectory, value);
}
