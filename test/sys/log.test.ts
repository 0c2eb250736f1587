import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import type { SpawnSyncReturns } from 'node:child_process';
import { closeSync, fstatSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { logEvents } from '../../src/core/log-events.ts';
import type { LogEvent, LogFields, LogLevel } from '../../src/core/log-events.ts';
import { Secret } from '../../src/core/secret.ts';
import { createLogger } from '../../src/sys/log.ts';
import type { LogFormat } from '../../src/sys/log.ts';

const events = Object.keys(logEvents) as LogEvent[];
const levels = ['debug', 'info', 'warn', 'error'] as const;

/** The output for one event. */
function written(
  fields: LogFields,
  options: {
    readonly event?: LogEvent;
    readonly level?: LogLevel;
    readonly format?: LogFormat;
  } = {},
): string[] {
  const { event = 'certificate_stored', level = 'debug', format = 'json' } = options;
  const lines: string[] = [];
  const destination = { write: (line: string) => void lines.push(line) };
  createLogger({ level, format, destination }).log(event, fields);
  return lines;
}

describe('createLogger(), json', () => {
  it('writes one object per line: time, level, event, fields and message', () => {
    const [line = '', ...more] = written({
      certificate: 'kubelet-client',
      attempt: 2,
      names: ['a', 'b'],
    });
    assert.deepEqual(more, []);
    assert.ok(line.endsWith('}\n'));
    const { time, ...rest } = JSON.parse(line) as { time: string };
    assert.match(time, /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$/);
    assert.ok(Math.abs(Date.parse(time) - Date.now()) < 60_000);
    assert.deepEqual(rest, {
      level: 'info',
      event: 'certificate_stored',
      certificate: 'kubelet-client',
      attempt: 2,
      names: ['a', 'b'],
      msg: 'Certificate stored and linked',
    });
  });

  it('leaves out a field that is undefined', () => {
    assert.doesNotMatch(written({ remedy: undefined })[0] ?? '', /remedy/);
  });

  it('writes a value with line breaks in one line', () => {
    const [line] = written({ message: 'two\nlines\r\n"quoted"' });
    assert.equal(line?.indexOf('\n'), line === undefined ? 0 : line.length - 1);
  });

  for (const event of events) {
    it(`takes level and message of ${event} from log-events.ts`, () => {
      const line = JSON.parse(written({}, { event })[0] ?? '') as Record<string, string>;
      assert.equal(line['level'], logEvents[event].level);
      assert.equal(line['msg'], logEvents[event].message);
    });
  }

  for (const level of levels) {
    it(`writes events of level ${level} and above`, () => {
      const shown = events.filter((event) => written({}, { event, level }).length > 0);
      const expected = events.filter(
        (event) => levels.indexOf(logEvents[event].level) >= levels.indexOf(level),
      );
      assert.deepEqual(shown, expected);
    });
  }
});

describe('createLogger(), text', () => {
  it('writes time, level, message and fields', () => {
    const [line] = written({ certificate: 'kubelet-client', attempt: 2 }, { format: 'text' });
    assert.match(
      line ?? '',
      /^\d{2}:\d{2}:\d{2} INFO  Certificate stored and linked certificate=kubelet-client attempt=2\n$/,
    );
  });

  const values: readonly (readonly [string, LogFields, string])[] = [
    ['a plain value', { a: 'x-1.y:z' }, 'a=x-1.y:z'],
    ['a value with spaces', { a: 'x y' }, 'a="x y"'],
    ['a value that looks like a field', { a: 'b=c' }, 'a="b=c"'],
    ['quotes', { a: 'say "x"' }, 'a="say \\"x\\""'],
    [
      'a line break, which could forge a line',
      { a: 'x\n12:00:00 INFO  Stopped' },
      'a="x\\n12:00:00 INFO  Stopped"',
    ],
    ['an escape sequence, which could paint over the screen', { a: '\u001B[2J' }, 'a="\\u001b[2J"'],
    ['the one-byte escape sequence of some terminals', { a: '\u009B2J' }, 'a="\\u009b2J"'],
    ['a list', { a: ['x', 'y'] }, 'a=x,y'],
    ['numbers and booleans', { a: -1.5, b: false }, 'a=-1.5 b=false'],
  ];
  for (const [name, fields, expected] of values) {
    it(`writes ${name}`, () => {
      assert.equal(text(fields), `INFO  Certificate stored and linked ${expected}\n`);
    });
  }
});

describe('createLogger(), secrets', () => {
  const token = 'abcdef.0123456789abcdef';
  const secret = new Secret(Uint8Array.from(Buffer.from(token)));
  for (const format of ['json', 'text'] as const) {
    it(`redacts a secret despite its type, in ${format}`, () => {
      const fields = { token: secret, nested: { deep: [secret] } } as unknown as LogFields;
      const [line = ''] = written(fields, { format });
      assert.equal(line.includes('abcdef'), false);
      assert.equal(line.includes('97,98,99'), false);
    });
  }
});

describe('createLogger(), standard error', () => {
  it('writes the last line before the process exits', () => {
    const { stdout, stderr } = logged({
      format: 'json',
      after: 'process.kill(process.pid, "SIGKILL");',
    });
    assert.equal(stdout, '');
    assert.match(stderr, /^\{.*"event":"agent_failed"/);
  });

  for (const format of ['json', 'text']) {
    it(`begins lines with their priority for the journal, in ${format}`, (context) => {
      const file = join(tmpdir(), `nodecertd-log-${process.pid}-${format}`);
      const journal = openSync(file, 'w');
      context.after(() => {
        closeSync(journal);
        rmSync(file);
      });
      const { dev, ino } = fstatSync(journal);
      logged({ format, journalStream: `${dev}:${ino}`, stderr: journal });
      logged({ format, journalStream: `${dev}:${ino + 1}`, stderr: journal });
      const [first = '', second = ''] = readFileSync(file, 'utf8').split('\n');
      assert.match(first, /^<3>.*The agent cannot run/);
      assert.match(second, /^[^<].*The agent cannot run/);
    });
  }
});

/** The output of a process that logs one event. */
function logged(options: {
  readonly format: string;
  readonly after?: string;
  readonly journalStream?: string;
  readonly stderr?: number;
}): SpawnSyncReturns<string> {
  const { format, after = '', journalStream, stderr = 'pipe' } = options;
  const program = `
    import { createLogger } from './src/sys/log.ts';
    createLogger({ level: 'info', format: '${format}' }).log('agent_failed', { code: 'INTERNAL' });
    ${after}`;
  return spawnSync(process.execPath, ['--input-type=module-typescript', '-e', program], {
    cwd: `${import.meta.dirname}/../..`,
    encoding: 'utf8',
    env: { ...process.env, JOURNAL_STREAM: journalStream },
    stdio: ['ignore', 'pipe', stderr],
  });
}

/** The line without its time. */
function text(fields: LogFields): string {
  const [line] = written(fields, { format: 'text' });
  return line?.replace(/^\d{2}:\d{2}:\d{2} /, '') ?? '';
}
