import { basename } from 'node:path';

/** The programs of the control plane, and those on every node that have certificates. */
export const componentNames = [
  'kube-apiserver',
  'etcd',
  'kube-controller-manager',
  'kube-scheduler',
  'cloud-controller-manager',
  'kube-proxy',
  'konnectivity-server',
  'konnectivity-agent',
  'kubelet',
] as const;

export type ComponentName = (typeof componentNames)[number];

export interface ComponentFlag {
  /** Without dashes at its start, and with `-` for `_`. */
  readonly name: string;
  /** Empty for a switch without a value. */
  readonly value: string;
}

/** Where the command line of a component is written. */
export type ComponentSource =
  | { readonly kind: 'static-pod'; readonly manifest: string; readonly container: string }
  | { readonly kind: 'unit'; readonly unit: string }
  | { readonly kind: 'process'; readonly pid: number };

/** A program of the control plane that runs, or is started, on this machine. */
export interface Component {
  readonly name: ComponentName;
  readonly source: ComponentSource;
  /** In the order of the command line; those of etcd's environment or configuration file follow. */
  readonly flags: readonly ComponentFlag[];
  /** False for a pod with a network of its own, whose ports this machine does not serve. */
  readonly sharesNetwork: boolean;
  /**
   * The path on the node of a path that the program sees. Undefined if the file is not on the
   * node, but in an image or in a volume of another kind.
   */
  readonly hostPath: (path: string) => string | undefined;
}

/** A file that was left out or could not be read. */
export interface FileNote {
  readonly path: string;
  /** A part of a sentence, without a final period. */
  readonly reason: string;
  /** A manifest that exists and could not be read: the kubelet may run a component from it. */
  readonly hidesComponent?: true;
}

const programs: Readonly<Record<string, ComponentName>> = {
  'kube-apiserver': 'kube-apiserver',
  etcd: 'etcd',
  'kube-controller-manager': 'kube-controller-manager',
  'kube-scheduler': 'kube-scheduler',
  'kube-proxy': 'kube-proxy',
  'konnectivity-server': 'konnectivity-server',
  'konnectivity-agent': 'konnectivity-agent',
  'proxy-server': 'konnectivity-server',
  'proxy-agent': 'konnectivity-agent',
};

/** Subcommands of hyperkube, which were shorter before 1.17. */
const hyperkubeCommands: Readonly<Record<string, ComponentName>> = {
  apiserver: 'kube-apiserver',
  'controller-manager': 'kube-controller-manager',
  scheduler: 'kube-scheduler',
  proxy: 'kube-proxy',
};

/** The component of a program, by its name or path. */
export function componentOf(program: string): ComponentName | undefined {
  const name = basename(program);
  if (/(?:^|-)cloud-controller-manager$/.test(name)) return 'cloud-controller-manager';
  return Object.hasOwn(programs, name) ? programs[name] : undefined;
}

export interface ComponentCommand {
  readonly name: ComponentName;
  /** The command line after the program. */
  readonly words: readonly string[];
}

/** The component that a process runs, which is its first word, or the first word after hyperkube. */
export function processCommand(command: readonly string[]): ComponentCommand | undefined {
  const [program = '', subcommand = ''] = command;
  const name = componentOf(program);
  if (name !== undefined) return { name, words: command.slice(1) };
  if (basename(program) !== 'hyperkube') return undefined;
  const started = hyperkubeCommand(subcommand);
  return started && { name: started, words: command.slice(2) };
}

/** Programs that start the program that follows their own flags. */
const wrappers = /^(?:go-runner|tini|dumb-init|catatonit|env|nice|ionice|numactl|taskset|setpriv)$/;

/**
 * The component that a container starts. Its program may follow other words, as in
 * `tini -- etcd` or `/go-runner --log-file=/x /usr/local/bin/kube-apiserver`.
 */
export function containerCommand(command: readonly string[]): ComponentCommand | undefined {
  const isWrapper = wrappers.test(basename(command[0] ?? ''));
  for (const [at, word] of command.entries()) {
    if (word.startsWith('-')) {
      if (isWrapper) continue;
      return undefined;
    }
    // In `env A=/x/etcd b`, the path is no program.
    const found = /[\s=]/.test(word) ? undefined : processCommand(command.slice(at, at + 2));
    if (found !== undefined) {
      return { name: found.name, words: command.slice(at + 2 - found.words.length) };
    }
  }
  return undefined;
}

function hyperkubeCommand(word: string): ComponentName | undefined {
  if (Object.hasOwn(hyperkubeCommands, word)) return hyperkubeCommands[word];
  return componentOf(word);
}
