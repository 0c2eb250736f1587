import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Matcher } from './matcher.ts';
import type { Needle } from './needles.ts';

/**
 * Runs strace on all processes of the agent and records everything they write: to
 * files, sockets, pipes, terminals, and to new programs as arguments and environment.
 * Calls that would move data in other ways are forbidden: see `findViolation`.
 */
const carrying = [
  'write',
  'pwrite64',
  'writev',
  'pwritev',
  'pwritev2',
  'sendto',
  'sendmsg',
  'sendmmsg',
  'vmsplice',
  'process_vm_writev',
  'execve',
  'setxattr',
  'openat',
  'mkdir',
  'rename',
  'symlink',
  'link',
] as const;
const unseen = ['sendfile', 'splice', 'tee', 'copy_file_range', 'memfd_create', 'shmget'] as const;

/**
 * The options of strace, before the program. The tracer is not the parent of the
 * program, so that signals reach the program.
 */
export function straceOptions(output: string): string[] {
  const traced = [...carrying, ...unseen, 'mmap', 'io_uring_setup', 'fsync'].join(',');
  // io_uring would bypass these calls. libuv works without it.
  const options = '-D -f -q -v -xx -yy -s 1048576 -e inject=io_uring_setup:error=ENOSYS';
  return [...options.split(' '), '-e', `trace=${traced}`, '-o', output];
}

export interface Written {
  readonly needle: Needle;
  /** The target: a path, `UNIX-STREAM:[…]`, `pipe:[…]`, or the call if it has no descriptor. */
  readonly where: string;
}

/** Returns the parts of keys in a trace, with their targets. @throws if the trace is incomplete */
export async function searchTrace(file: string, matcher: Matcher): Promise<Written[]> {
  const found: Written[] = [];
  /** Finds a match across two writes, too. */
  const tails = new Map<string, Buffer>();
  for await (const line of createInterface({ input: createReadStream(file, 'latin1') })) {
    const violation = findViolation(line);
    if (violation !== undefined) throw new Error(`${violation}: ${line.slice(0, 300)}`);
    const bytes = Buffer.concat(stringsOf(line));
    if (bytes.length === 0) continue;
    const where = whereOf(line);
    const whole = Buffer.concat([tails.get(where) ?? Buffer.alloc(0), bytes]);
    tails.set(where, Buffer.from(whole.subarray(-Math.max(matcher.overlap, 1))));
    for (const { needle } of [...matcher.search(whole), ...matcher.search(withoutIndices(whole))]) {
      found.push({ needle, where });
    }
  }
  return found;
}

function findViolation(line: string): string | undefined {
  const call = callOf(line);
  if (includes(unseen, call)) return `${call} moves data that strace does not show`;
  if (line.includes('io_uring_setup') && !/(?:INJECTED\)|<unfinished \.\.\.>)$/.test(line)) {
    return 'a ring was set up';
  }
  if (line.includes('"...')) return 'strace cut a text off';
  if (call === 'mmap' && /PROT_WRITE.*MAP_SHARED/.test(line)) return 'a file is written as memory';
  return undefined;
}

function callOf(line: string): string {
  return /^\d+ +(\w+)\(/.exec(line)?.[1] ?? '';
}

function includes(calls: readonly string[], call: string): boolean {
  return calls.includes(call);
}

function whereOf(line: string): string {
  const descriptor = /^\d+ +\w+\(\d+<(.*?)>, /.exec(line)?.[1];
  return descriptor === undefined ? callOf(line) : decode(descriptor).toString('latin1');
}

function stringsOf(line: string): Buffer[] {
  return [...line.matchAll(/"((?:\\x[0-9a-f]{2})+)"/g)].map((match) => decode(match[1] ?? ''));
}

/** `\x41` is A. Other characters are literal. */
function decode(text: string): Buffer {
  return Buffer.from(
    text.replaceAll(/\\x([0-9a-f]{2})/g, (_, code: string) =>
      String.fromCharCode(Number.parseInt(code, 16)),
    ),
    'latin1',
  );
}

/** The JSON of a Uint8Array is `{"0":48,"1":119}`, which is a list of bytes without the names. */
function withoutIndices(bytes: Buffer): Buffer {
  const text = bytes.toString('latin1');
  if (!/"\d+":\d+,"\d+":\d+/.test(text)) return Buffer.alloc(0);
  return Buffer.from(text.replaceAll(/"\d+":/g, ''), 'latin1');
}
