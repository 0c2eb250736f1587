import { AgentError } from '../core/errors.ts';

/** The words of a line. Disposal wipes them, because one of them may be a token. */
export interface ShellWords extends Disposable {
  readonly words: readonly Uint8Array<ArrayBuffer>[];
}

/**
 * Splits a line into words as a shell does: with quotes, and with backslashes at the end of lines.
 * A copied line may have lost these line breaks or have blanks after the backslash, so a backslash
 * before a blank also separates words. Expands no variables.
 * @throws AgentError USAGE for an unclosed quote
 */
export function splitWords(line: Uint8Array): ShellWords {
  const splitter = new Splitter(line);
  try {
    return splitter.split();
  } catch (error) {
    splitter.wipe();
    throw error;
  }
}

class Splitter {
  readonly #line: Uint8Array;
  /** Holds all words, one after the other. */
  readonly #out: Uint8Array<ArrayBuffer>;
  readonly #words: Uint8Array<ArrayBuffer>[] = [];
  #start = 0;
  #end = 0;
  #isInWord = false;
  /** The open quote, or 0. */
  #quote = 0;

  constructor(line: Uint8Array) {
    this.#line = line;
    this.#out = new Uint8Array(new ArrayBuffer(line.length));
  }

  split(): ShellWords {
    for (let at = 0; at < this.#line.length;) at += this.#read(at);
    if (this.#quote !== 0) {
      throw new AgentError('USAGE', 'the line of --join has a quote that is not closed', {
        remedy: 'Copy the whole line: kubeadm token create --print-join-command',
      });
    }
    this.#finishWord();
    return { words: this.#words, [Symbol.dispose]: () => this.wipe() };
  }

  wipe(): void {
    this.#out.fill(0);
  }

  /** Returns the number of bytes read. */
  #read(at: number): number {
    const byte = this.#line[at] ?? 0;
    if (byte === backslash && this.#quote !== singleQuote) return this.#readEscape(at);
    if (this.#quote !== 0) {
      if (byte === this.#quote) this.#quote = 0;
      else this.#push(byte);
      return 1;
    }
    if (byte === singleQuote || byte === doubleQuote) {
      this.#quote = byte;
      this.#isInWord = true;
      return 1;
    }
    const blank = this.#blankLength(at);
    if (blank > 0) this.#finishWord();
    else this.#push(byte);
    return Math.max(blank, 1);
  }

  #readEscape(at: number): number {
    const rest = this.#line.subarray(at + 1, at + 3);
    if (rest[0] === newline) return 2;
    if (rest[0] === carriageReturn && rest[1] === newline) return 3;
    if (this.#quote === 0 && (rest.length === 0 || this.#blankLength(at + 1) > 0)) {
      this.#finishWord();
      return 1;
    }
    const isLiteral = this.#quote === doubleQuote && !escapable.has(rest[0] ?? 0);
    this.#push(isLiteral ? backslash : (rest[0] ?? backslash));
    return isLiteral ? 1 : 2;
  }

  /** The bytes of the white space at this offset: 2 for the no-break space that web pages contain. */
  #blankLength(at: number): number {
    const byte = this.#line[at] ?? 0;
    if (byte === 0x20 || (byte >= 0x09 && byte <= 0x0d)) return 1;
    return byte === 0xc2 && this.#line[at + 1] === 0xa0 ? 2 : 0;
  }

  #push(byte: number): void {
    this.#out[this.#end] = byte;
    this.#end += 1;
    this.#isInWord = true;
  }

  #finishWord(): void {
    if (this.#isInWord) this.#words.push(this.#out.subarray(this.#start, this.#end));
    this.#start = this.#end;
    this.#isInWord = false;
  }
}

const newline = 0x0a;
const carriageReturn = 0x0d;
const backslash = 0x5c;
const singleQuote = 0x27;
const doubleQuote = 0x22;
/** In double quotes: `$`, backquote, `"` and backslash (POSIX shell, 2.2.3). */
const escapable = new Set([0x24, 0x60, doubleQuote, backslash]);
