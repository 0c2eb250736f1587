import { changingCalls, failures } from '../crash/injection.ts';
import type { Call, Errno } from '../crash/injection.ts';
import type { Entry, Image } from './image.ts';

/** The calls that change files, and those with which they are opened, synced and closed. */
export const recordedNames = [...changingCalls, 'rmdir'] as const;

/** A system call in the log of a run. */
export interface RecordedCall {
  readonly time: number;
  readonly name: (typeof recordedNames)[number];
  /** Absolute paths; the second one is the new name of a file. */
  readonly paths: readonly string[];
  readonly isFailed: boolean;
  /** The other arguments, as strace shows them. */
  readonly text: string;
  readonly data: string;
}

/** Reads the lines of strace with `-y -x -ttt`. */
export function parseCalls(log: string): RecordedCall[] {
  return log.split('\n').flatMap((line) => {
    const match = /^(\d+\.\d+) (\w+)\((.*)\) += (-?\d+|\?)/.exec(line);
    const name = recordedNames.find((one) => one === match?.[2]);
    if (match === null || name === undefined) return [];
    const [, time = '', , text = '', result = ''] = match;
    const strings = [...text.matchAll(/"((?:[^"\\]|\\.)*)"/g)].map(([, one = '']) => plain(one));
    const [, file = ''] = /^\d+<([^>]*)>/.exec(text) ?? [];
    const isOnPath = ['openat', 'mkdir', 'symlink', 'rename', 'unlink', 'rmdir'].includes(name);
    return [
      {
        time: Number(time),
        name,
        // The text of a link is no path.
        paths: isOnPath ? (name === 'symlink' ? strings.slice(1) : strings) : [file],
        isFailed: !/^\d+$/.test(result),
        text,
        data: strings[0] ?? '',
      },
    ];
  });
}

/** The text of a string of C. */
function plain(text: string): string {
  return text.replaceAll(/\\(x[\da-f]{2}|[0-7]{1,3}|.)/g, (_, code: string) => character(code));
}

const letters: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r', v: '\v', f: '\f' };

function character(code: string): string {
  if (/^\d/.test(code)) return String.fromCharCode(Number.parseInt(code, 8));
  if (code.length > 1) return String.fromCharCode(Number.parseInt(code.slice(1), 16));
  return letters[code] ?? code;
}

/** The errors that a call can return according to its manual page. A file that is only read needs no space. */
export function canFail({ name, text }: RecordedCall, errno: Errno): boolean {
  const calls: readonly (Call | 'rmdir')[] =
    errno === 'ENOSPC' ? failures[errno] : [...failures[errno], 'rmdir'];
  if (name === 'close' || !calls.includes(name)) return false;
  const isReading = name === 'openat' && !text.includes('O_CREAT');
  return !isReading || errno === 'EIO' || errno === 'EACCES';
}

/** The files after a call. */
export function afterCall(image: Image, call: RecordedCall, root: string): Image {
  const [path = '', other = ''] = call.paths.map((one) => one.slice(root.length + 1));
  if (call.isFailed) return image;
  const next = new Map(image);
  const change = (changed: (file: Extract<Entry, { kind: 'file' }>) => Entry): void => {
    const found = next.get(path);
    if (found?.kind === 'file') next.set(path, changed(found));
  };
  const mode = Number.parseInt(/, (0[0-7]+)$/.exec(call.text)?.[1] ?? '0', 8);
  switch (call.name) {
    case 'openat':
      if (call.text.includes('O_TRUNC')) change((file) => ({ ...file, bytes: Buffer.alloc(0) }));
      if (!call.text.includes('O_CREAT') || next.has(path)) break;
      next.set(path, { kind: 'file', mode: mode & ~0o22, bytes: Buffer.alloc(0) });
      break;
    case 'write':
    case 'pwrite64':
      change((file) => ({
        ...file,
        bytes: Buffer.concat([file.bytes, Buffer.from(call.data, 'latin1')]),
      }));
      break;
    case 'ftruncate':
      change((file) => ({ ...file, bytes: Buffer.alloc(0) }));
      break;
    case 'fchmod':
      change((file) => ({ ...file, mode }));
      break;
    case 'mkdir':
      next.set(path, { kind: 'folder', mode: mode & ~0o22 });
      break;
    case 'symlink':
      next.set(path, { kind: 'link', target: call.data });
      break;
    case 'rename': {
      const moved = [...next].filter(([one]) => one === path || one.startsWith(`${path}/`));
      for (const [one, entry] of moved) {
        next.delete(one);
        next.set(other + one.slice(path.length), entry);
      }
      break;
    }
    case 'unlink':
    case 'rmdir':
      next.delete(path);
      break;
    case 'fsync':
    case 'close':
      break;
    default:
      call.name satisfies never;
  }
  return next;
}
