import { Tree } from '../sys/tree.ts';
import type { KubeletFlagName, KubeletFlags } from './flags.ts';
import { parseKubeletFlags } from './flags.ts';
import { findKubelets } from './process.ts';
import { readKubeletService } from './service.ts';

/** How the kubelet of this machine is started, as far as it can be told for sure. */
export interface KubeletStart {
  /** Where the flags were read; 'unknown' comes without flags. */
  readonly source: 'process' | 'service' | 'unknown';
  /** `/proc/7/cmdline` or `kubelet.service`. */
  readonly commandLine: string;
  /** The service to restart. */
  readonly unit?: string;
  readonly flags: KubeletFlags;
  /** The flags of the next start; absent when the service does not tell them. */
  readonly nextFlags?: KubeletFlags;
  readonly workingDirectory: string;
  /** Names of the variables in its environment. */
  readonly variables: readonly string[];
  /** The files of its service, in which flags may be written. */
  readonly files: readonly string[];
  /** The reason why its service does not tell the command line. */
  readonly unclear?: string;
  readonly running?: { readonly pid: number; readonly ageMs: number };
  /** The process ids, when more than one kubelet runs. */
  readonly several?: readonly number[];
}

/** Where processes and systemctl are; found by themselves when absent. */
export interface KubeletPlaces {
  readonly proc?: string;
  readonly systemctl?: string;
}

/** The start of a kubelet that is not there to be asked, as in an image. */
export const unknownStart: KubeletStart = {
  source: 'unknown',
  commandLine: '',
  flags: [],
  workingDirectory: '/',
  variables: [],
  files: [],
};

/**
 * The command line of a running kubelet is what it goes by. A kubelet that does not run, or
 * that this process may not inspect (ProtectProc= in the agent's unit), is known by its
 * service.
 */
export async function findKubeletStart({
  proc,
  systemctl,
}: KubeletPlaces = {}): Promise<KubeletStart> {
  const processes = await findKubelets(proc);
  const [process, ...more] = processes;
  // A kubelet that something else than a service started says nothing about kubelet.service.
  const unit = process === undefined ? 'kubelet.service' : process.unit;
  const service = unit === undefined ? undefined : await readKubeletService(unit, systemctl);
  const nextFlags = service?.words && parseKubeletFlags(service.words);
  const common = {
    files: service?.files ?? [],
    ...((process?.unit ?? service) !== undefined && { unit }),
    ...(nextFlags && { nextFlags }),
    ...(service?.unclear !== undefined && { unclear: service.unclear }),
    ...(more.length > 0 && { several: processes.map(({ pid }) => pid) }),
  };
  if (process !== undefined) {
    const { pid, ageMs, words, workingDirectory, variables } = process;
    const flags = parseKubeletFlags(words);
    const place = { commandLine: `/proc/${pid}/cmdline`, workingDirectory, variables };
    return { ...common, ...place, source: 'process', flags, running: { pid, ageMs } };
  }
  if (service === undefined || nextFlags === undefined) return { ...unknownStart, ...common };
  const { workingDirectory, variables } = service;
  const place = { commandLine: service.unit, workingDirectory, variables };
  return { ...common, ...place, source: 'service', flags: nextFlags };
}

/** The lines where a flag is written, such as `line 3 of /etc/default/kubelet`, found by a plain search. */
export async function flagLines(
  files: readonly string[],
  name: KubeletFlagName,
): Promise<string[]> {
  const flag = new RegExp(`^(?!\\s*[#;]).*--${name.replaceAll('-', '[-_]')}(?![\\w-])`);
  const found = files.map(async (file) => {
    const lines = ((await new Tree('/').readText(file)) ?? '').split('\n');
    return lines.flatMap((line, at) => (flag.test(line) ? [`line ${at + 1} of ${file}`] : []));
  });
  return (await Promise.all(found)).flat();
}
