import { stripVTControlCharacters } from 'node:util';

/** The used part of a terminal stream such as process.stdout. */
export interface Terminal {
  readonly columns?: number;
  readonly rows?: number;
  write(text: string): unknown;
  on(event: 'resize', listener: () => void): unknown;
  off(event: 'resize', listener: () => void): unknown;
}

/** The used part of `process`, to restore the terminal at the exit. */
export interface ProcessEvents {
  once(event: string, listener: () => void): unknown;
  off(event: string, listener: () => void): unknown;
  listenerCount(event: string): number;
  kill(pid: number, signal: NodeJS.Signals): unknown;
  readonly pid: number;
}

const escape = '\u001b[';
/**
 * The alternate screen keeps the scrollback. Without wrapping, a long line cannot push
 * down the others.
 */
const enter = `${escape}?1049h${escape}?25l${escape}?7l${escape}2J`;
const leave = `${escape}?7h${escape}?25h${escape}?1049l`;
/** Terminals that support it show an update at once. Others ignore it. */
const beginUpdate = `${escape}?2026h`;
const endUpdate = `${escape}?2026l`;
const eraseToEnd = `${escape}K`;

const endingSignals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * Draws lines without flicker: it writes only changed lines, and erases no line before
 * its new text. It restores the cursor and the old screen however the process ends.
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

  /**
   * Draws the lines that `content` returns for the width of the terminal, and again
   * after a resize.
   */
  draw(content: (columns: number) => readonly string[]): void {
    this.#content = content;
    if (!this.#open) this.#enter();
    this.#paint();
  }

  /** Restores the old screen and leaves the last picture on it. A second call does nothing. */
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

  /**
   * A signal without another handler would have ended the process. It still does, after
   * the terminal is restored.
   */
  #signaled(signal: (typeof endingSignals)[number]): void {
    const others = this.#process.listenerCount(signal);
    if (others > 0) return;
    this.#restore();
    this.#process.kill(this.#process.pid, signal);
  }

  readonly #ended = {
    SIGINT: (): void => this.#signaled('SIGINT'),
    SIGTERM: (): void => this.#signaled('SIGTERM'),
    SIGHUP: (): void => this.#signaled('SIGHUP'),
  };

  /** After a resize, lines may have moved, so everything is drawn again. */
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

/** After a full line the cursor is on its last character, which an erase would remove. */
function overwrite(line: string, columns: number): string {
  const width = Array.from(stripVTControlCharacters(line)).length;
  return width < columns ? line + eraseToEnd : line;
}

function cropped(lines: readonly string[], rows: number): string[] {
  if (lines.length <= rows) return [...lines];
  return [...lines.slice(0, rows - 1), `… ${lines.length - rows + 1} more lines`];
}
