import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { withoutSecrets } from '../core/printable.ts';

export interface LineReaderOptions {
  readonly mostLines: number;
  readonly onLine: (line: string) => void;
}

/** What is kept of a line: more is not shown of it. */
const longest = 2_048;

/**
 * Takes the output of a program apart into lines that may stand in a log. Of a flood
 * the first lines are handed on and the others counted: it is read to its end all the
 * same, since a program waits, or dies, when nobody does.
 */
export class LineReader {
  readonly #options: LineReaderOptions;
  #handedOn = 0;
  #leftOut = 0;

  constructor(options: LineReaderOptions) {
    this.#options = options;
  }

  get leftOut(): number {
    return this.#leftOut;
  }

  /** Settles when the stream has come to its end, or was destroyed. */
  async read(stream: Readable): Promise<void> {
    let rest = '';
    stream.setEncoding('utf8');
    stream.on('data', (chunk: string) => {
      const lines = chunk.split('\n');
      lines[0] = rest + (lines[0] ?? '');
      rest = (lines.pop() ?? '').slice(0, longest);
      for (const line of lines) this.#take(line);
    });
    // The other end can be gone before it was heard of.
    stream.on('error', () => undefined);
    await once(stream, 'close').catch(() => undefined);
    this.#take(rest);
  }

  /** Blank lines say nothing. */
  #take(line: string): void {
    if (line.trim() === '') return;
    if (this.#handedOn >= this.#options.mostLines) {
      this.#leftOut += 1;
      return;
    }
    this.#handedOn += 1;
    this.#options.onLine(withoutSecrets(line));
  }
}
