import { readServices } from '../sys/service.ts';
import { Tree } from '../sys/tree.ts';
import type { KubeletFlagName, KubeletFlags } from './flags.ts';
import { parseKubeletFlags } from './flags.ts';
import { findKubelets } from './process.ts';

/** The start of the kubelet of this machine, as far as it is certain. */
export interface KubeletStart {
  /** The source of the flags; 'unknown' means that there are no flags. */
  readonly source: 'process' | 'service' | 'unknown';
  /** `/proc/7/cmdline` or `kubelet.service`. */
  readonly commandLine: string;
  /** The service to restart. */
  readonly unit?: string;
  readonly flags: KubeletFlags;
  /** The flags of the next start; absent if the service does not determine them. */
  readonly nextFlags?: KubeletFlags;
  readonly workingDirectory: string;
  /** Names of the variables in its environment. */
  readonly variables: readonly string[];
  /** The files of its service, which may contain flags. */
  readonly files: readonly string[];
  /** The reason why the command line of its service is uncertain. */
  readonly unclear?: string;
  readonly running?: { readonly pid: number; readonly ageMs: number };
  /** The process ids, when more than one kubelet runs. */
  readonly several?: readonly number[];
}

/** Paths of /proc and systemctl; by default those of this machine. */
export interface KubeletPlaces {
  readonly proc?: string;
  readonly systemctl?: string;
}

/** The start of a kubelet without a process and a service, as in an image. */
export const unknownStart: KubeletStart = {
  source: 'unknown',
  commandLine: '',
  flags: [],
  workingDirectory: '/',
  variables: [],
  files: [],
};

/**
 * Reads the command line of a running kubelet. Reads its service instead if the kubelet is not
 * running, or if this process may not inspect it (ProtectProc= in the agent's unit).
 */
export async function findKubeletStart({
  proc,
  systemctl,
}: KubeletPlaces = {}): Promise<KubeletStart> {
  const processes = await findKubelets(proc);
  const [process, ...more] = processes;
  // A kubelet that no service started is independent of kubelet.service.
  const unit = process === undefined ? 'kubelet.service' : process.unit;
  const queries = unit === undefined ? [] : [{ unit, program: 'kubelet' }];
  const [service] = await readServices(queries, systemctl);
  const nextFlags = service?.words && parseKubeletFlags(service.words);
  const common = {
    files: service?.files ?? [],
    ...((process?.unit ?? service) !== undefined && { unit }),
    ...(nextFlags && { nextFlags }),
    ...(service?.unclear !== undefined && { unclear: service.unclear }),
    ...(more.length > 0 && { several: processes.map(({ pid }) => pid) }),
  };
  if (process !== undefined) {
    const { pid, ageMs, command, workingDirectory, environment } = process;
    const flags = parseKubeletFlags(command.slice(1));
    const variables = [...environment.keys()];
    const place = { commandLine: `/proc/${pid}/cmdline`, workingDirectory, variables };
    return { ...common, ...place, source: 'process', flags, running: { pid, ageMs } };
  }
  if (service === undefined || nextFlags === undefined) return { ...unknownStart, ...common };
  const { workingDirectory, environment } = service;
  const variables = [...environment.keys()];
  const place = { commandLine: service.unit, workingDirectory, variables };
  return { ...common, ...place, source: 'service', flags: nextFlags };
}

/**
 * The lines that contain a flag, such as `line 3 of /etc/default/kubelet`, found by a plain
 * search.
 */
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
