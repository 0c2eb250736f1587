import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { second } from '../../../src/core/instant.ts';
import { pairFile } from '../../../src/store/pair-names.ts';
import type { TestNode } from '../../support/agent.ts';
import { findProgram } from '../../support/programs.ts';

/** The process and the thread whose calls are counted: see attach.mjs. `run` is the keeper. */
export interface Place {
  readonly role: 'run' | 'enroller';
  readonly thread: 'main' | 'pool';
}

export const places: readonly Place[] = [
  { role: 'run', thread: 'main' },
  { role: 'run', thread: 'pool' },
  { role: 'enroller', thread: 'pool' },
];

/**
 * The system calls of keeper and enroller on their files, as strace shows them. Node
 * does not use symlinkat, renameat2, writev or fdatasync.
 */
export const changingCalls = [
  'openat',
  'write',
  'pwrite64',
  'ftruncate',
  'fchmod',
  'fsync',
  'close',
  'mkdir',
  'symlink',
  'rename',
  'unlink',
] as const;
export const lookingCalls = [
  'read',
  'readlink',
  'statx',
  'newfstatat',
  'getdents64',
  'inotify_add_watch',
] as const;
export type Call = (typeof changingCalls)[number] | (typeof lookingCalls)[number];

export interface Injection {
  readonly place: Place;
  readonly call: Call;
  readonly nth: number;
  readonly fault: 'SIGKILL' | Errno;
}

const naming = ['mkdir', 'symlink', 'rename'] as const;

/** The errors to inject, with the calls that can return them according to their manual pages. */
export const failures: Readonly<Record<Errno, readonly Call[]>> = {
  ENOSPC: ['openat', 'write', 'pwrite64', 'fsync', 'close', ...naming, 'inotify_add_watch'],
  EIO: [...changingCalls, ...lookingCalls],
  EROFS: ['openat', 'fchmod', 'unlink', ...naming],
  EACCES: ['openat', 'fchmod', 'unlink', ...naming, 'readlink', 'statx', 'inotify_add_watch'],
  EMFILE: ['openat', 'inotify_add_watch'],
  EINTR: ['openat', 'write', 'pwrite64', 'ftruncate', 'fsync', 'close'],
};
export type Errno = 'ENOSPC' | 'EIO' | 'EROFS' | 'EACCES' | 'EMFILE' | 'EINTR';

/** The message to attach.mjs, in an environment variable. */
export interface AttachRequest extends Pick<Place, 'thread'> {
  /** The first word of the command line. */
  readonly role: Place['role'] | 'certs' | 'discover' | 'trust';
  readonly strace: string;
  readonly paths: readonly string[];
  /** Files that the agent replaces with a temporary file and a rename. */
  readonly replaced: readonly { readonly directory: string; readonly name: string }[];
  readonly filters: readonly string[];
  readonly output: string;
}

/** Runs strace on one thread of an agent. */
export class Attachment {
  /** The environment of the traced agent. */
  readonly env: Readonly<Record<string, string>>;
  readonly #output: string;

  constructor(node: TestNode, place: Place, injection?: Injection) {
    this.#output = join(node.directory, 'strace');
    const request: AttachRequest = {
      ...place,
      strace: findProgram('strace') ?? 'strace',
      paths: pathsOf(node),
      replaced: [
        { directory: node.directory, name: 'kubelet.conf' },
        { directory: join(node.directory, 'state'), name: 'state.json' },
        ...['kubelet-client-current.pem', ...comingPairs()].map((name) => ({
          directory: node.pki,
          name,
        })),
      ],
      filters: [
        `trace=${[...changingCalls, ...lookingCalls].join(',')}`,
        ...(injection === undefined ? [] : [`inject=${injectOption(injection)}`]),
      ],
      output: this.#output,
    };
    this.env = {
      NODE_OPTIONS: `--import=${pathToFileURL(join(import.meta.dirname, 'attach.mjs')).href}`,
      UV_THREADPOOL_SIZE: '1',
      FAULT_ATTACH: JSON.stringify(request),
    };
  }

  /** Counts the calls of the thread on files of the node. */
  async counts(): Promise<Map<string, number>> {
    const counts = new Map<string, number>();
    for (const line of await this.#lines()) {
      const call = /^\w+/.exec(line)?.[0] ?? '';
      counts.set(call, (counts.get(call) ?? 0) + 1);
    }
    return counts;
  }

  /** The call that was hit, if any. */
  async struck(): Promise<string | undefined> {
    const lines = await this.#lines();
    const failed = lines.find((line) => line.endsWith('(INJECTED)'));
    if (failed !== undefined) return failed;
    // A call that was killed has no result.
    return lines.some((line) => line.startsWith('+++ killed by SIGKILL'))
      ? lines.findLast((line) => line.endsWith(' = ?'))
      : undefined;
  }

  async #lines(): Promise<string[]> {
    return (await readFile(this.#output, 'utf8').catch(() => '')).split('\n');
  }
}

export function describeInjection({ place, call, nth, fault }: Injection): string {
  const who = place.role === 'run' ? 'keeper' : 'enroller';
  return `${fault} at ${call} ${nth} of the ${who} (${place.thread} thread)`;
}

function injectOption({ call, nth, fault }: Injection): string {
  const what = fault === 'SIGKILL' ? 'signal=SIGKILL' : `error=${fault}`;
  return `${call}:${what}:when=${nth}`;
}

/** All files that an agent opens on a node, except temporary files. */
function pathsOf({ directory, pki }: TestNode): string[] {
  const inDirectory = ['kubelet.conf', 'bootstrap.conf', 'state', 'state/state.json'];
  const inPki = ['.nodecertd.lock', 'kubelet-client-current.pem', olderPair, ...comingPairs()];
  return [
    directory,
    pki,
    ...inDirectory.map((name) => join(directory, name)),
    ...inPki.map((name) => join(pki, name)),
  ];
}

/** The names of pairs contain the second in which they are stored. */
function comingPairs(): string[] {
  const moments = Array.from({ length: 60 }, (_, index) => Date.now() + (index - 1) * second);
  return moments.map((moment) => pairFile('kubelet-client', moment));
}

/** The oldest pair, which the agent deletes when it stores a new one. */
export const olderPair = 'kubelet-client-2020-01-01-00-00-00.pem';
