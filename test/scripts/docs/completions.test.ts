import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { bashCompletion } from '../../../scripts/docs/bash-completion.ts';
import { optionsOf, readModel } from '../../../scripts/docs/cli-model.ts';
import { fishCompletion } from '../../../scripts/docs/fish-completion.ts';
import { zshCompletion } from '../../../scripts/docs/zsh-completion.ts';
import type { ProgramModel } from '../../../src/cli/program.ts';
import { findProgram, libraryEnvironment, skipWithout } from '../../support/programs.ts';

const run = promisify(execFile);

let directory = '';
let model: ProgramModel;
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'nodecertd-completion-'));
  model = await readModel();
  await writeFile(join(directory, 'bash'), bashCompletion(model));
  await writeFile(join(directory, 'zsh'), zshCompletion(model));
  await writeFile(join(directory, 'fish'), fishCompletion(model));
});
after(async () => {
  await rm(directory, { recursive: true });
});

/** Reads the file without running it, as `bash -n` does. */
async function check(shell: string): Promise<void> {
  const program = findProgram(shell) ?? shell;
  const env = { ...process.env, ...libraryEnvironment(program), HOME: directory };
  const { stderr } = await run(program, ['-n', join(directory, shell)], { env });
  assert.equal(stderr, '');
}

/** What bash would propose for the last of these words. */
async function proposals(...words: readonly string[]): Promise<string[]> {
  // What readline would do; compopt refuses to work without it.
  const script = `compopt() { :; }; source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
    _nodecertd; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { stdout } = await run('bash', ['-c', script, join(directory, 'bash'), ...words], {
    cwd: directory,
  });
  return stdout.split('\n').filter((line) => line !== '');
}

describe('bashCompletion()', () => {
  const expectations: readonly (readonly [readonly string[], readonly string[]])[] = [
    [['nodecertd', 'st'], ['status']],
    [['nodecertd', '--v'], ['--version']],
    [
      ['nodecertd', 'help', 'r'],
      ['run', 'renew'],
    ],
    [
      ['nodecertd', 'run', '--log'],
      ['--log-level', '--log-format'],
    ],
    [
      ['nodecertd', 'status', '-o', ''],
      ['table', 'json', 'yaml'],
    ],
    [['nodecertd', 'status', '--output', '=', 'y'], ['yaml']],
    [
      ['nodecertd', 'status', '--output', '='],
      ['table', 'json', 'yaml'],
    ],
    [
      ['nodecertd', 'run', '--config', 'some'],
      ['some folder', 'some.yaml'],
    ],
    [['nodecertd', 'run', '--cert-dir', 'some'], ['some folder']],
    [['nodecertd', 'run', '--hostname-override', ''], []],
    // The value of an option is not taken for the command.
    [['nodecertd', 'run', '--config', 'status', '--agent'], []],
  ];
  before(async () => {
    await mkdir(join(directory, 'some folder'));
    await writeFile(join(directory, 'some.yaml'), '');
  });
  for (const [words, expected] of expectations) {
    it(`proposes ${expected.join(', ') || 'nothing'} for ${words.join(' ')}`, async () => {
      assert.deepEqual((await proposals(...words)).toSorted(), [...expected].toSorted());
    });
  }

  it('proposes each command and each of its options', async () => {
    const commands = model.program.createHelp().visibleCommands(model.program);
    const names = commands.map((command) => command.name());
    assert.deepEqual(
      (await proposals('nodecertd', '')).filter((word) => !word.startsWith('-')),
      names,
    );
    for (const { command } of model.commands) {
      const flags = optionsOf(command).flatMap((option) => option.flags);
      assert.deepEqual(await proposals('nodecertd', command.name(), '-'), flags);
    }
  });

  it('returns a script that bash can read', async () => {
    await check('bash');
  });
});

describe('zshCompletion()', { skip: skipWithout('zsh') }, () => {
  it('returns a script that zsh can read', async () => {
    await check('zsh');
  });
});

describe('fishCompletion()', { skip: skipWithout('fish') }, () => {
  it('returns a script that fish can read', async () => {
    await check('fish');
  });
});
