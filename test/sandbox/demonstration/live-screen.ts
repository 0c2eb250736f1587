import { stripVTControlCharacters } from 'node:util';

/** The part of a terminal stream that is drawn on; process.stdout is one. */
export interface Terminal {
  readonly columns?: number;
  readonly rows?: number;
  write(text: string): unknown;
  on(event: 'resize', listener: () => void): unknown;
  off(event: 'resize', listener: () => void): unknown;
}

/** What must be undone on the way out happens through these; `process` has all three. */
export interface ProcessEvents {
  once(event: string, listener: () => void): unknown;
  off(event: string, listener: () => void): unknown;
  listenerCount(event: string): number;
  kill(pid: number, signal: NodeJS.Signals): unknown;
  readonly pid: number;
}

const escape = '\u001b[';
/** The alternate screen leaves the scrollback as it was; without wrapping a line too long cannot push the others down. */
const enter = `${escape}?1049h${escape}?25l${escape}?7l${escape}2J`;
const leave = `${escape}?7h${escape}?25h${escape}?1049l`;
/** Terminals that know it show all of an update at once; the others ignore it. */
const beginUpdate = `${escape}?2026h`;
const endUpdate = `${escape}?2026l`;
const eraseToEnd = `${escape}K`;

const endingSignals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * Draws lines over the ones before without flicker: only those that changed are
 * written again, none is erased before its new text is there. Whatever way the
 * process ends, the cursor and the old screen come back.
 */
export class LiveScreen {
  readonly #terminal: Terminal;
  readonly #process: ProcessEvents;
  #shown: string[] = [];
  #content: (columns: number) => readonly string[] = () => [];
  #open = false;

  constructor(terminal: Terminal, processEvents: ProcessEvents = process) {
    this.#terminal = terminal;
    this.#process = processEvents;
  }

  /** Shows what `content` returns for the width of the terminal, and asks it again after a resize. */
  draw(content: (columns: number) => readonly string[]): void {
    this.#content = content;
    if (!this.#open) this.#enter();
    this.#paint();
  }

  /** Brings the old screen back and leaves the last picture on it. Closing twice does no harm. */
  close(): void {
    if (!this.#open) return;
    this.#restore();
    const last = this.#content(this.#columns());
    this.#terminal.write(last.map((line) => `${line}\n`).join(''));
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #enter(): void {
    this.#open = true;
    this.#terminal.write(enter);
    this.#terminal.on('resize', this.#resized);
    this.#process.once('exit', this.#restore);
    for (const signal of endingSignals) this.#process.once(signal, this.#ended[signal]);
  }

  #restore = (): void => {
    if (!this.#open) return;
    this.#open = false;
    this.#shown = [];
    this.#terminal.off('resize', this.#resized);
    this.#process.off('exit', this.#restore);
    for (const signal of endingSignals) this.#process.off(signal, this.#ended[signal]);
    this.#terminal.write(leave);
  };

  /** A signal that nobody else handles would have ended the process: it still does, with the terminal in order. */
  #signalled(signal: (typeof endingSignals)[number]): void {
    const others = this.#process.listenerCount(signal);
    if (others > 0) return;
    this.#restore();
    this.#process.kill(this.#process.pid, signal);
  }

  readonly #ended = {
    SIGINT: (): void => this.#signalled('SIGINT'),
    SIGTERM: (): void => this.#signalled('SIGTERM'),
    SIGHUP: (): void => this.#signalled('SIGHUP'),
  };

  /** After a resize nothing on the screen can be trusted to be where it was. */
  #resized = (): void => {
    this.#shown = [];
    this.#terminal.write(`${escape}2J`);
    this.#paint();
  };

  #paint(): void {
    const rows = Math.max(this.#terminal.rows ?? 24, 1);
    const lines = cropped(this.#content(this.#columns()), rows);
    const count = Math.max(lines.length, this.#shown.length);
    const changes = Array.from({ length: count }, (_, row) =>
      lines[row] === this.#shown[row]
        ? ''
        : `${escape}${row + 1};1H${overwrite(lines[row] ?? '', this.#columns())}`,
    ).join('');
    this.#shown = lines;
    if (changes !== '') this.#terminal.write(`${beginUpdate}${changes}${endUpdate}`);
  }

  #columns(): number {
    return Math.max(this.#terminal.columns ?? 80, 1);
  }
}

/** Behind a full line the cursor stands on its last character, and erasing would take that away. */
function overwrite(line: string, columns: number): string {
  const width = Array.from(stripVTControlCharacters(line)).length;
  return width < columns ? line + eraseToEnd : line;
}

function cropped(lines: readonly string[], rows: number): string[] {
  if (lines.length <= rows) return [...lines];
  return [...lines.slice(0, rows - 1), `… ${lines.length - rows + 1} more lines`];
}
