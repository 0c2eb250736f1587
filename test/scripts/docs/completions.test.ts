import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { bashCompletion } from '../../../scripts/docs/bash-completion.ts';
import {
  commandsOf,
  groupsOf,
  helpCommand,
  helpWordsOf,
  membersOf,
  optionsOf,
  readModel,
  wordsOf,
} from '../../../scripts/docs/cli-model.ts';
import { fishCompletion } from '../../../scripts/docs/fish-completion.ts';
import { zshCompletion } from '../../../scripts/docs/zsh-completion.ts';
import type { ProgramModel } from '../../../src/cli/program.ts';
import {
  findProgram,
  libraryEnvironment,
  packagesDirectory,
  skipWithout,
} from '../../support/programs.ts';

const run = promisify(execFile);

let directory = '';
let model: ProgramModel;
before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'nodecertd-completion-'));
  model = await readModel();
  await writeFile(join(directory, 'bash'), bashCompletion(model));
  await writeFile(join(directory, 'zsh'), zshCompletion(model));
  await mkdir(join(directory, 'functions'));
  await writeFile(join(directory, 'functions/_nodecertd'), zshCompletion(model));
  await writeFile(join(directory, 'fish'), fishCompletion(model));
});
after(async () => {
  await rm(directory, { recursive: true });
});

/** Reads the file without running it, as `bash -n` does. */
async function check(shell: string): Promise<void> {
  const { stderr } = await runShell(shell, ['-n', join(directory, shell)]);
  assert.equal(stderr, '');
}

async function runShell(
  shell: string,
  args: readonly string[],
  variables: Readonly<Record<string, string>> = {},
): Promise<{ readonly stdout: string; readonly stderr: string }> {
  const program = findProgram(shell) ?? shell;
  const env = { ...process.env, ...libraryEnvironment(program), HOME: directory, ...variables };
  return run(program, args, { env, cwd: directory });
}

/** What a shell proposes for the last word of a line. */
type Proposals = (line: string) => Promise<string[]>;

async function inBash(line: string): Promise<string[]> {
  return inBashFor(...line.split(' '));
}

async function inBashFor(...words: readonly string[]): Promise<string[]> {
  // What readline would do; compopt refuses to work without it.
  const script = `compopt() { :; }; source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1))
    _nodecertd; printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { stdout } = await runShell('bash', ['-c', script, join(directory, 'bash'), ...words]);
  return linesOf(stdout);
}

async function inFish(line: string): Promise<string[]> {
  const script = 'source $argv[1]; complete -C $argv[2]';
  const args = ['--no-config', '-c', script, join(directory, 'fish'), line];
  const { stdout } = await runShell('fish', args);
  return linesOf(stdout).map((proposal) => proposal.split('\t')[0] ?? '');
}

/** zsh completes only at a terminal, so script(1) provides one, and compadd records what it would show. */
const zshrc = `
PROMPT=
if [[ -n $UNPACKED ]]; then
  module_path=($UNPACKED/usr/lib/*/zsh/*(/))
  fpath=($UNPACKED/usr/share/zsh/functions/**/*(/))
fi
fpath=($ZDOTDIR/functions $fpath)
autoload -Uz compinit && compinit -u -d $ZDOTDIR/dump
compadd() {
  if [[ \${@[1,(i)(-|--)]} != *-(O|A|D)\\ * ]]; then
    local -a proposals
    builtin compadd -O proposals "$@"
    (( $#proposals )) && print -rl -- $proposals >>$ZDOTDIR/proposals
  fi
  builtin compadd "$@"
}
zle-line-init() {
  BUFFER=$LINE
  CURSOR=$#BUFFER
  zle complete-word
  exit 0
}
zle -N zle-line-init
`;

async function inZsh(line: string): Promise<string[]> {
  const zsh = findProgram('zsh') ?? 'zsh';
  const unpacked = zsh.startsWith(packagesDirectory) ? join(packagesDirectory, 'zsh') : '';
  await writeFile(join(directory, '.zshrc'), zshrc);
  await writeFile(join(directory, 'proposals'), '');
  await runShell('script', ['-qec', `${zsh} -d -i`, '/dev/null'], {
    ZDOTDIR: directory,
    TERM: 'dumb',
    UNPACKED: unpacked,
    LINE: line,
  });
  return linesOf(await readFile(join(directory, 'proposals'), 'utf8'));
}

function linesOf(text: string): string[] {
  return text.split(/\r?\n/).filter((line) => line !== '');
}

const expectations: readonly (readonly [string, readonly string[]])[] = [
  ['nodecertd st', ['status']],
  ['nodecertd --v', ['--version']],
  ['nodecertd help r', ['run', 'renew']],
  ['nodecertd help ce', ['certs']],
  ['nodecertd run --log', ['--log-level', '--log-format']],
  ['nodecertd status -o ', ['table', 'json', 'yaml']],
  ['nodecertd renew --t', ['--timeout']],
  ['nodecertd certs v', ['verify']],
  // `renew` and `certs renew` are different commands.
  ['nodecertd certs renew --l', ['--lifetime']],
  ['nodecertd certs renew --t', []],
  ['nodecertd certs --h', ['--help']],
  ['nodecertd certs check-expiration --no', ['--no-dial']],
  [
    'nodecertd certs check-expiration -o ',
    ['table', 'wide', 'json', 'yaml', 'kubeadm', 'prometheus'],
  ],
  ['nodecertd certs check-expiration --path one --path two --pa', ['--path']],
  ['nodecertd help certs v', ['verify']],
];

/** The expectations for every shell. */
function itProposes(proposals: Proposals): void {
  for (const [line, expected] of expectations) {
    it(`proposes ${expected.join(', ') || 'nothing'} for "${line}"`, async () => {
      assert.deepEqual((await proposals(line)).toSorted(), expected.toSorted());
    });
  }

  it('proposes the members of each group, also after help', async () => {
    for (const group of groupsOf(model.program)) {
      const names = membersOf(group).map((command) => command.name());
      for (const words of [wordsOf(group), helpWordsOf(group)]) {
        const found = await proposals(`nodecertd ${words} `.replace('  ', ' '));
        assert.deepEqual(
          found.filter((word) => !word.startsWith('-')).toSorted(),
          names.toSorted(),
          words,
        );
      }
    }
  });
}

describe('bashCompletion()', () => {
  itProposes(inBash);

  const others: readonly (readonly [readonly string[], readonly string[]])[] = [
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
  for (const [words, expected] of others) {
    it(`proposes ${expected.join(', ') || 'nothing'} for ${words.join(' ')}`, async () => {
      assert.deepEqual((await inBashFor(...words)).toSorted(), [...expected].toSorted());
    });
  }

  it('proposes each option of each command', async () => {
    for (const command of commandsOf(model.program)) {
      if (command.name() === helpCommand) continue;
      const flags = optionsOf(command).flatMap((option) => option.flags);
      assert.deepEqual(await inBash(`nodecertd ${wordsOf(command)} -`), flags);
    }
  });

  it('returns a script that bash can read', async () => {
    await check('bash');
  });
});

describe('zshCompletion()', { skip: skipWithout('zsh', 'script') }, () => {
  itProposes(inZsh);

  it('returns a script that zsh can read', async () => {
    await check('zsh');
  });
});

describe('fishCompletion()', { skip: skipWithout('fish') }, () => {
  itProposes(inFish);

  it('returns a script that fish can read', async () => {
    await check('fish');
  });
});
