import { fstatSync } from 'node:fs';
import pino from 'pino';
import type { DestinationStream } from 'pino';
import type { LogEvent, LogFields, LogLevel } from '../core/log-events.ts';
import { logEvents } from '../core/log-events.ts';

export type LogFormat = 'json' | 'text';

export interface Logger {
  /** Level and message come from core/log-events.ts. */
  log(event: LogEvent, fields?: LogFields): void;
}

export interface LoggerOptions {
  readonly level: LogLevel;
  readonly format: LogFormat;
  /** Standard error if absent, because standard output is for results. */
  readonly destination?: DestinationStream;
  /** Whether systemd's journal reads the lines. If absent, checked for standard error. */
  readonly journal?: boolean;
}

/** sd-daemon(3): the journal reads the priority from the start of a line and removes it. */
const priorities = { debug: '<7>', info: '<6>', warn: '<4>', error: '<3>' } as const;

/**
 * One JSON object per line: `time` (RFC 3339), `level`, `event`, `msg` and the fields of the
 * event. Writes are synchronous, so the last line before an exit is not lost.
 */
export function createLogger(options: LoggerOptions): Logger {
  const destination = options.destination ?? pino.destination({ dest: 2, sync: true });
  const journal = options.journal ?? (options.destination === undefined && journalReads(2));
  let level: LogLevel = 'info';
  const write = (line: string): void => {
    const text = options.format === 'json' ? line : toText(line);
    destination.write(journal ? priorities[level] + text : text);
  };
  const logger = pino(
    {
      level: options.level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    { write },
  );
  return {
    log: (event, fields = {}) => {
      const { message } = logEvents[event];
      ({ level } = logEvents[event]);
      logger[level]({ event, ...fields }, message);
    },
  };
}

/**
 * systemd.exec(5): `$JOURNAL_STREAM` identifies the journal's stream. A child process that
 * inherits the variable may write elsewhere.
 */
function journalReads(descriptor: number): boolean {
  const stream = process.env['JOURNAL_STREAM'];
  if (stream === undefined) return false;
  const { dev, ino } = fstatSync(descriptor);
  return stream === `${dev}:${ino}`;
}

/** `12:30:01 INFO  Certificate stored and linked  certificate=kubelet-client serial=4f2a` */
function toText(line: string): string {
  const { time, level, msg, event: _, ...fields } = JSON.parse(line) as Record<string, unknown>;
  const rest = Object.entries(fields).map(([key, value]) => `${key}=${quote(value)}`);
  return `${[String(time).slice(11, 19), String(level).toUpperCase().padEnd(5), msg, ...rest].join(' ')}\n`;
}

function quote(value: unknown): string {
  const text = Array.isArray(value) ? value.join(',') : String(value);
  // Control characters in a message from a server must not reach the terminal.
  return /[\s"=\p{Cc}]/u.test(text) ? escaped(text) : text;
}

function escaped(text: string): string {
  return JSON.stringify(text).replace(
    /\p{Cc}/gu,
    (control) => `\\u${control.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
