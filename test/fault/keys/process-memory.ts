import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import type { Match, Matcher } from './matcher.ts';
import type { Needle } from './needles.ts';

export interface MemoryMatch {
  readonly needle: Needle;
  /** The address and the mapping. */
  readonly where: string;
}

/**
 * Searches all written memory of a running process: the heaps of V8 and malloc, the
 * stacks of all threads, and the data of the program and its libraries. Other pages
 * have the content of a file.
 */
export function searchProcess(pid: number, matcher: Matcher): MemoryMatch[] {
  const found: MemoryMatch[] = [];
  for (const { name, bytes, at } of readProcess(pid, matcher.overlap)) {
    const add = (matches: readonly Match[], what = ''): void => {
      for (const { needle, offset } of matches) {
        const place = `${(at + offset).toString(16)} ${name || 'anonymous'}`;
        found.push({ needle, where: `${what}${place}` });
      }
    };
    add(matcher.search(bytes));
    add(matcher.search(numbersIn(bytes)), 'array of numbers after ');
  }
  return found;
}

export interface MemoryChunk {
  /** The name of the mapping: `[heap]`, a path, `locked` for locked memory, or empty. */
  readonly name: string;
  /** Valid until the next part. */
  readonly bytes: Buffer;
  /** The address of the first byte. */
  readonly at: number;
}

const chunk = 1024 * 1024;
const page = 4096;

/**
 * Yields the written memory in overlapping parts, without memory that is unmapped
 * during the search.
 */
export function* readProcess(pid: number, overlap: number): Iterable<MemoryChunk> {
  const memory = openSync(`/proc/${pid}/mem`, 'r');
  const pages = openSync(`/proc/${pid}/pagemap`, 'r');
  const buffer = Buffer.alloc(chunk + overlap);
  try {
    for (const mapping of writtenMappings(pid)) {
      for (const { start, end } of presentRuns(pages, mapping)) {
        for (let at = start; at < end; at += chunk) {
          const length = Math.min(chunk + overlap, end - at);
          const read = readAt(memory, buffer.subarray(0, length), at);
          if (read > 0) yield { name: mapping.name, bytes: buffer.subarray(0, read), at };
        }
      }
    }
  } finally {
    closeSync(memory);
    closeSync(pages);
  }
}

interface Range {
  readonly start: number;
  readonly end: number;
}

/** Only pages in memory or swap, because V8 reserves half a gigabyte that it never uses. */
function* presentRuns(pages: number, { start, end }: Range): Iterable<Range> {
  const entries = Buffer.alloc(((end - start) / page) * 8);
  readAt(pages, entries, (start / page) * 8);
  let from: number | undefined;
  for (let at = start; at < end; at += page) {
    // Bits 63 and 62 of Documentation/admin-guide/mm/pagemap.rst.
    const present = ((entries[((at - start) / page) * 8 + 7] ?? 0) & 0xc0) !== 0;
    if (present) from ??= at;
    else if (from !== undefined) {
      yield { start: from, end: at };
      from = undefined;
    }
  }
  if (from !== undefined) yield { start: from, end };
}

function readAt(file: number, target: Buffer, position: number): number {
  let read = 0;
  try {
    while (read < target.length) {
      const more = readSync(file, target, read, target.length - read, position + read);
      if (more === 0) break;
      read += more;
    }
  } catch (error) {
    // The memory was unmapped, or cannot be read, such as [vvar].
    if ((error as NodeJS.ErrnoException).code !== 'EIO') throw error;
  }
  return read;
}

function writtenMappings(pid: number): (Range & { readonly name: string })[] {
  const blocks = readFileSync(`/proc/${pid}/smaps`, 'utf8').split(/\n(?=[0-9a-f]+-[0-9a-f]+ )/);
  return blocks.filter(isWritten).flatMap((block) => {
    const head = /^([0-9a-f]+)-([0-9a-f]+) r\S+ \S+ \S+ \S+ *(.*)/.exec(block);
    if (head === null) return [];
    const [start = 0, end = 0] = [head[1], head[2]].map((text) => Number.parseInt(text ?? '', 16));
    const locked = /^VmFlags:.* lo\b/m.test(block) ? 'locked' : '';
    return { start, end, name: head[3] || locked };
  });
}

function isWritten(block: string): boolean {
  return /^(?:Private_Dirty|Shared_Dirty|Anonymous|Swap): +[1-9]/m.test(block);
}

/**
 * Returns the values of JavaScript arrays of small integers. V8 stores each in the
 * upper half of 8 bytes.
 */
export function numbersIn(bytes: Buffer): Buffer {
  const words = bytes.length >> 3;
  const values = Buffer.alloc(words);
  let length = 0;
  let run = 0;
  for (let at = 0; at < words * 8; at += 8) {
    const value = bytes[at + 4] ?? 0;
    if (bytes.readUInt32LE(at) === 0 && bytes.readUInt32LE(at + 4) === value) {
      values[length] = value;
      length += 1;
      run += 1;
    } else {
      // Shorter than any needle, but it must separate its neighbors.
      if (run < 8) length -= run;
      run = 0;
    }
  }
  return values.subarray(0, length);
}
