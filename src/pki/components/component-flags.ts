import type { Component, ComponentCommand, ComponentFlag } from './component.ts';

/** The flags of a program: those of its command line, and for etcd those of its environment. */
export function flagsOf(
  { name, words }: ComponentCommand,
  environment: ReadonlyMap<string, string>,
): ComponentFlag[] {
  const flags = parseComponentFlags(words);
  return name === 'etcd' ? [...flags, ...etcdEnvironmentFlags(environment, flags)] : flags;
}

/**
 * The flags of a command line, as pflag and the flag package of Go read them: `--name=value` or
 * `--name value`, with one dash for etcd, `_` for `-` (WordSepNormalizeFunc), nothing after `--`.
 * The programs take no arguments, so a word without a dash is the value of the flag before it.
 */
export function parseComponentFlags(words: readonly string[]): ComponentFlag[] {
  const flags: ComponentFlag[] = [];
  for (let at = 0; at < words.length; at += 1) {
    const word = words[at];
    if (word === undefined || word === '--') break;
    const { name, value } =
      /^--?(?<name>[^-_=][^=]*)(?:=(?<value>[^]*))?$/.exec(word)?.groups ?? {};
    if (name === undefined) continue;
    const next = words[at + 1];
    const takesNext = value === undefined && next !== undefined && !next.startsWith('-');
    if (takesNext) at += 1;
    flags.push({ name: name.replaceAll('_', '-'), value: value ?? (takesNext ? next : '') });
  }
  return flags;
}

/**
 * The flags that etcd reads from its environment: ETCD_CERT_FILE is --cert-file. A flag on the
 * command line has precedence (etcd, pkg/flags, SetFlagsFromEnv).
 */
function etcdEnvironmentFlags(
  environment: ReadonlyMap<string, string>,
  flags: readonly ComponentFlag[],
): ComponentFlag[] {
  return [...environment].flatMap(([variable, value]) => {
    const name = /^ETCD_([A-Z0-9_]+)$/.exec(variable)?.[1]?.toLowerCase().replaceAll('_', '-');
    const isNew = name !== undefined && value !== '' && flagValue(flags, name) === undefined;
    return isNew ? [{ name, value }] : [];
  });
}

/** The last occurrence of a flag takes effect. Undefined without the flag, and for an empty value. */
export function flagValue(flags: readonly ComponentFlag[], name: string): string | undefined {
  const value = flags.findLast((flag) => flag.name === name)?.value;
  return value === '' ? undefined : value;
}

/** The path on the node of the file that a flag names. */
export function fileIn(component: Component | undefined, flag: string): string | undefined {
  const path = component && flagValue(component.flags, flag);
  return path === undefined ? undefined : component?.hostPath(path);
}

/** A certificate that a server shows to clients that ask for one of its names (SNI). */
export interface NamedCertificate {
  readonly certificateFile: string;
  readonly keyFile: string;
  /** Empty if the names of the certificate count. */
  readonly names: readonly string[];
}

/**
 * Every `--tls-sni-cert-key=/x.crt,/x.key:name,name` (component-base, namedcertkey_flag.go). Skips
 * malformed values, with which the server does not start.
 */
export function namedCertificates(flags: readonly ComponentFlag[]): NamedCertificate[] {
  const values = flags.filter(({ name }) => name === 'tls-sni-cert-key').map(({ value }) => value);
  return values.flatMap((value) => {
    const at = value.indexOf(':');
    const pair = (at === -1 ? value : value.slice(0, at)).split(',').map((part) => part.trim());
    const [certificateFile = '', keyFile = ''] = pair;
    if (pair.length !== 2 || certificateFile === '' || keyFile === '') return [];
    const names = at === -1 ? [] : value.slice(at + 1).split(',');
    return [{ certificateFile, keyFile, names: names.map((name) => name.trim()).filter(Boolean) }];
  });
}
