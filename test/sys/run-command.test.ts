import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { second } from '../../src/core/instant.ts';
import { systemClock } from '../../src/sys/clock.ts';
import type { CommandOptions, CommandResult } from '../../src/sys/run-command.ts';
import { runCommand } from '../../src/sys/run-command.ts';
import { until } from '../keeper/fixtures.ts';

interface Run {
  readonly result: CommandResult;
  readonly lines: readonly string[];
  readonly seconds: number;
}

const path = '/usr/bin:/bin';

async function run(argv: readonly string[], options: Partial<CommandOptions> = {}): Promise<Run> {
  const lines: string[] = [];
  const startedAt = performance.now();
  const result = await runCommand({
    argv,
    env: { PATH: path },
    clock: systemClock,
    timeoutMs: 30 * second,
    maxLines: 20,
    onLine: (line) => lines.push(line),
    signal: new AbortController().signal,
    ...options,
  });
  return { result, lines, seconds: (performance.now() - startedAt) / second };
}

async function shell(script: string, options: Partial<CommandOptions> = {}): Promise<Run> {
  return run(['/bin/sh', '-c', script], options);
}

/** A zombie process counts as gone. */
function isAlive(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

describe('runCommand()', () => {
  let directory: string;
  before(async () => {
    directory = await mkdtemp(join(tmpdir(), 'nodecertd-command-'));
  });
  after(async () => {
    await rm(directory, { recursive: true });
  });

  /** Writes its process id into this file; returns it once it is there. */
  function pidFile(name: string): { readonly file: string; readonly pid: () => Promise<number> } {
    const file = join(directory, name);
    const pid = async (): Promise<number> => {
      await until(`the process id in ${name}`, () => {
        try {
          return readFileSync(file, 'utf8').endsWith('\n');
        } catch {
          return false;
        }
      });
      return Number(await readFile(file, 'utf8'));
    };
    return { file, pid };
  }

  async function script(name: string, text: string, mode: number): Promise<string> {
    const file = join(directory, name);
    await writeFile(file, text);
    await chmod(file, mode);
    return file;
  }

  for (const code of [0, 1, 127, 255]) {
    it(`reports exit code ${code}`, async () => {
      const { result } = await shell(`exit ${code}`);
      assert.deepEqual(result, { end: { kind: 'exited', code }, linesLeftOut: 0 });
    });
  }

  it('reports the signal that ended the program', async () => {
    const { result } = await shell('kill -s USR1 $$');
    assert.deepEqual(result.end, { kind: 'signaled', signal: 'SIGUSR1' });
  });

  it('passes on lines of both outputs, also an unfinished last one', async () => {
    const { lines } = await shell('echo one; sleep 0.1; echo two >&2; sleep 0.1; printf three');
    assert.deepEqual(lines, ['one', 'two', 'three']);
  });

  it('passes on standard output in bytes, and standard error in lines', async () => {
    const chunks: Buffer[] = [];
    const onOutput = (chunk: Buffer): void => void chunks.push(chunk);
    const script = "printf 'a\\n\\377\\000b'; echo said >&2";
    const { result, lines } = await shell(script, { onOutput });
    assert.deepEqual(result.end, { kind: 'exited', code: 0 });
    assert.deepEqual(Buffer.concat(chunks), Buffer.from([0x61, 0x0a, 0xff, 0x00, 0x62]));
    assert.deepEqual(lines, ['said']);
  });

  it('passes on arguments unchanged, and only the given environment', async () => {
    const { lines } = await run(['/usr/bin/env', 'sh', '-c', 'echo "$1"; env', 'sh', '$HOME; *'], {
      env: { PATH: path, A: '1' },
    });
    const [argument, ...environment] = lines;
    assert.equal(argument, '$HOME; *');
    // Variables that a shell sets itself.
    const known = environment.filter((line) => !/^(PWD|OLDPWD|SHLVL|_)=/.test(line));
    assert.deepEqual(known.sort(), ['A=1', `PATH=${path}`]);
  });

  it('runs in the root directory, in its own session, without input', async () => {
    const { lines } = await shell('pwd; cat; cut -d" " -f5,6 /proc/$$/stat; echo $$');
    const [folder, groupAndSession, pid] = lines;
    assert.equal(folder, '/');
    assert.equal(groupAndSession, `${pid} ${pid}`);
  });

  const unstartable: readonly (readonly [string, () => Promise<string>, RegExp])[] = [
    ['a missing program', async () => '/nowhere/at-all', /does not exist/],
    [
      'a file without permission to execute',
      () => script('plain', 'text', 0o644),
      /permission to execute it is denied/,
    ],
    ['a directory', async () => '/usr', /permission to execute it is denied/],
    [
      'a script with a missing interpreter',
      () => script('orphan', '#!/nowhere/sh\n', 0o755),
      /or its interpreter, does not exist/,
    ],
    ['a path with NUL', async () => '/bin/a\0b', /null bytes/],
  ];
  for (const [what, make, reason] of unstartable) {
    it(`gives the reason if it cannot start ${what}`, async () => {
      const { result } = await run([await make()]);
      assert.equal(result.end.kind, 'not-started');
      assert.match(result.end.kind === 'not-started' ? result.end.reason : '', reason);
    });
  }

  it('passes on the first lines, counts the others and reads all', async () => {
    const before = process.memoryUsage().heapUsed;
    const { result, lines } = await shell('yes 0123456789abcde | head -c 10000000; exit 3');
    assert.deepEqual(
      lines,
      Array.from({ length: 20 }, () => '0123456789abcde'),
    );
    assert.equal(result.linesLeftOut, 10_000_000 / 16 - 20);
    assert.deepEqual(result.end, { kind: 'exited', code: 3 });
    const grown = (process.memoryUsage().heapUsed - before) / 1e6;
    assert.ok(grown < 60, `${grown} MB more`);
  });

  it('shortens long lines and removes control characters', async () => {
    const { lines } = await shell(
      String.raw`head -c 10000000 /dev/zero | tr "\0" a; echo; printf "\033[31mred\r\n\n  \n"; head -c 300 /dev/urandom | base64 -w 0`,
    );
    const [long = '', red, random] = lines;
    assert.ok(long.length <= 501, `${long.length} characters`);
    assert.equal(red, '[31mred');
    assert.equal(random, '…');
  });

  it('waits for a program that closes its output', async () => {
    const { result, lines } = await shell('echo on; exec >&- 2>&-; sleep 0.3; exit 4');
    assert.deepEqual(lines, ['on']);
    assert.deepEqual(result.end, { kind: 'exited', code: 4 });
  });

  it('does not wait for a background process, and lets it run', async () => {
    const { file, pid } = pidFile('background');
    const { result, seconds, lines } = await shell(`sleep 60 & echo $! > ${file}; echo started`);
    assert.deepEqual(result.end, { kind: 'exited', code: 0 });
    assert.deepEqual(lines, ['started']);
    assert.ok(seconds < 10, `${seconds} s`);
    const left = await pid();
    assert.ok(isAlive(left));
    process.kill(left, 'SIGKILL');
  });

  it('ends the whole process group at the time limit', async () => {
    const { file, pid } = pidFile('grandchild');
    const { result, seconds } = await shell(`sh -c 'echo $$ > ${file}; sleep 60; :'; :`, {
      timeoutMs: 500,
    });
    assert.deepEqual(result.end, { kind: 'timed-out' });
    assert.ok(seconds < 10, `${seconds} s`);
    assert.equal(isAlive(await pid()), false);
  });

  it('gives a program a grace period to clean up', async () => {
    const { result, lines } = await shell(
      'exec 2>/dev/null; trap "echo tidying; sleep 0.2; echo tidy; exit 0" TERM; echo on; while :; do sleep 0.05; done',
      { timeoutMs: 500 },
    );
    assert.deepEqual(result.end, { kind: 'timed-out' });
    assert.deepEqual(lines, ['on', 'tidying', 'tidy']);
  });

  it('kills processes that ignore SIGTERM, also orphans', async () => {
    const { file, pid } = pidFile('stubborn');
    const stubborn = `trap "" TERM; echo $$ > ${file}; while :; do sleep 0.05; done`;
    const { result, seconds } = await shell(`sh -c '${stubborn}' & wait`, {
      timeoutMs: 500,
      graceMs: 300,
    });
    assert.deepEqual(result.end, { kind: 'timed-out' });
    assert.ok(seconds < 10, `${seconds} s`);
    const left = await pid();
    await until('the grandchild is gone', () => !isAlive(left));
  });

  it('ends the program on abort', async () => {
    const { file, pid } = pidFile('aborted');
    const stop = new AbortController();
    const running = shell(`echo $$ > ${file}; sleep 60; :`, { signal: stop.signal });
    const child = await pid();
    stop.abort();
    const { result } = await running;
    assert.deepEqual(result.end, { kind: 'aborted' });
    assert.equal(isAlive(child), false);
  });

  it('ends the program when this process exits', async () => {
    const { file, pid } = pidFile('orphan');
    const module = fileURLToPath(new URL('../../src/sys/run-command.ts', import.meta.url));
    const clock = fileURLToPath(new URL('../../src/sys/clock.ts', import.meta.url));
    const program = `
      import { runCommand } from ${JSON.stringify(module)};
      import { systemClock as clock } from ${JSON.stringify(clock)};
      process.on('SIGTERM', () => process.exit(1));
      const argv = ['/bin/sh', '-c', ${JSON.stringify(`echo $$ > ${file}; sleep 60; :`)}];
      const { signal } = new AbortController();
      void runCommand({ argv, env: {}, clock, timeoutMs: 60000, maxLines: 1, onLine: () => {}, signal });
    `;
    const agent = spawn(process.execPath, ['--input-type=module-typescript', '-e', program]);
    const child = await pid();
    agent.kill('SIGTERM');
    await once(agent, 'exit');
    await until('the command is gone', () => !isAlive(child));
  });

  it('starts nothing if it was aborted before', async () => {
    const file = join(directory, 'never');
    const { result } = await shell(`echo > ${file}`, { signal: AbortSignal.abort() });
    assert.deepEqual(result.end, { kind: 'aborted' });
    await assert.rejects(readFile(file), { code: 'ENOENT' });
  });

  it('does not keep this process running', async () => {
    const held = process.getActiveResourcesInfo().length;
    for (let times = 0; times < 20; times += 1) await shell('echo $$');
    await until('everything is let go', () => process.getActiveResourcesInfo().length <= held);
  });
});
