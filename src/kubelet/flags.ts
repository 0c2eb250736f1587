import type { CommandWord } from './command-word.ts';

/** The flags of a kubelet that say where its credentials are and who looks after them. */
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

export type KubeletFlagName = (typeof kubeletFlagNames)[number];

export interface KubeletFlag {
  readonly name: KubeletFlagName;
  readonly value: string;
  /** The words that make it up: one for `--name=value`, two for `--name value`. */
  readonly words: readonly CommandWord[];
}

/** Each flag as often as it was given; the last one counts. */
export type KubeletFlags = readonly KubeletFlag[];

/**
 * The flags among the words, as pflag reads them for the kubelet: `--name=value` or
 * `--name value`, `_` for `-` (WordSepNormalizeFunc), nothing after `--`. A switch
 * takes its value after `=` only, and is on without one.
 */
export function parseKubeletFlags(words: readonly CommandWord[]): KubeletFlag[] {
  const flags: KubeletFlag[] = [];
  for (let at = 0; at < words.length; at += 1) {
    const word = words[at];
    if (word === undefined || word.text === '--') break;
    const match = /^--(?<name>[^=]+)(?:=(?<value>[^]*))?$/.exec(word.text)?.groups;
    const name = kubeletFlagNames.find((known) => known === match?.['name']?.replaceAll('_', '-'));
    if (name === undefined) continue;
    const given = match?.['value'];
    const next = given === undefined && !isSwitch(name) ? words[at + 1] : undefined;
    if (next !== undefined) at += 1;
    const value = given ?? next?.text ?? (isSwitch(name) ? 'true' : '');
    flags.push({ name, value, words: next === undefined ? [word] : [word, next] });
  }
  return flags;
}

function isSwitch(name: KubeletFlagName): boolean {
  return name === 'rotate-certificates' || name === 'rotate-server-certificates';
}

/** What counts of a flag; undefined when it was not given. */
export function flagNamed(flags: KubeletFlags, name: KubeletFlagName): KubeletFlag | undefined {
  return flags.findLast((flag) => flag.name === name);
}

/** strconv.ParseBool; undefined for what a kubelet does not start with. */
export function switchValue(text: string): boolean | undefined {
  if (/^(?:1|t|T|TRUE|true|True)$/.test(text)) return true;
  return /^(?:0|f|F|FALSE|false|False)$/.test(text) ? false : undefined;
}
