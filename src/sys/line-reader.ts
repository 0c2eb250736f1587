import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { withoutSecrets } from '../core/printable.ts';

export interface LineReaderOptions {
  readonly maxLines: number;
  readonly onLine: (line: string) => void;
}

/** Characters of a line that are kept. */
const longest = 2_048;

/**
 * Splits the output of a program into lines for the log. Passes on a limited number of lines and
 * counts the others. Always reads to the end, because a program blocks or dies if its output is
 * not read.
 */
export class LineReader {
  readonly #options: LineReaderOptions;
  #passedOn = 0;
  #leftOut = 0;

  constructor(options: LineReaderOptions) {
    this.#options = options;
  }

  get leftOut(): number {
    return this.#leftOut;
  }

  /** Resolves when the stream has ended or was destroyed. */
  async read(stream: Readable): Promise<void> {
    let rest = '';
    stream.setEncoding('utf8');
    stream.on('data', (chunk: string) => {
      const lines = chunk.split('\n');
      lines[0] = rest + (lines[0] ?? '');
      rest = (lines.pop() ?? '').slice(0, longest);
      for (const line of lines) this.#take(line);
    });
    // The program may have ended before its output is read.
    stream.on('error', () => undefined);
    await once(stream, 'close').catch(() => undefined);
    this.#take(rest);
  }

  /** Skips blank lines, and does not count them. */
  #take(line: string): void {
    if (line.trim() === '') return;
    if (this.#passedOn >= this.#options.maxLines) {
      this.#leftOut += 1;
      return;
    }
    this.#passedOn += 1;
    this.#options.onLine(withoutSecrets(line));
  }
}
