import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Variable } from '../../src/adopt/systemd-words.ts';
import {
  commandWords,
  environmentOf,
  parseUnit,
  serviceStart,
} from '../../src/adopt/systemd-unit.ts';

describe('parseUnit()', () => {
  it('parseUnit() reads [Service] alone, joins lines and passes over comments', () => {
    const text = `# a comment
[Unit]
Environment=A=1
[Service]
; another
ExecStart = /usr/bin/kubelet \\
# within
  --config=/c.yaml \\
  --kubeconfig=/k
Environment=B=2
[Install]
ExecStart=/no
`;
    assert.deepEqual(
      parseUnit(text, '/u').map(({ key, value, line }) => [key, value, line]),
      [
        ['ExecStart', '/usr/bin/kubelet    --config=/c.yaml    --kubeconfig=/k', 6],
        ['Environment', 'B=2', 10],
      ],
    );
  });
});

describe('parseUnit() at the end of a line', () => {
  for (const [end, joined] of [
    ['a \\', true],
    ['a \\\\', false],
    ['a \\\\\\', true],
  ] as const) {
    it(`parseUnit() ${joined ? 'joins' : 'does not join'} ${JSON.stringify(end)} with the next`, () => {
      const found = parseUnit(`[Service]\nExecStart=${end}\nEnvironment=B`, '/u');
      assert.equal(found.length, joined ? 1 : 2);
    });
  }
});

describe('serviceStart()', () => {
  it('serviceStart() begins a list anew at an empty value, and takes the last ExecStart=', () => {
    const text = `[Service]
ExecStart=/bin/one
ExecStart=
ExecStart=/bin/two
Environment=A=1
Environment=
Environment=B=2
EnvironmentFile=-/etc/default/kubelet
EnvironmentFile=/etc/more
WorkingDirectory=/srv
`;
    const start = serviceStart(parseUnit(text, '/u'));
    assert.equal(start.exec?.value, '/bin/two');
    assert.deepEqual(
      start.assignments.map(({ value }) => value),
      ['B=2'],
    );
    assert.deepEqual(start.environmentFiles, ['/etc/default/kubelet', '/etc/more']);
    assert.equal(start.workingDirectory, '/srv');
  });

  it('serviceStart() knows of no working directory but /', () => {
    for (const line of ['', 'WorkingDirectory=~', 'WorkingDirectory=']) {
      assert.equal(serviceStart(parseUnit(`[Service]\n${line}`, '/u')).workingDirectory, '/');
    }
  });
});

describe('environmentOf()', () => {
  it('environmentOf() lets files override the unit, and the later the earlier', () => {
    const unit = parseUnit(`[Service]\nEnvironment="A=1 2" B=3\nEnvironment=A=4`, '/u');
    const variables = environmentOf(serviceStart(unit), [
      { file: '/one', text: 'B=5\nC=6' },
      { file: '/two', text: 'C="7"' },
    ]);
    const found = [...variables].map(([name, { value, file, line }]) => [name, value, file, line]);
    assert.deepEqual(found, [
      ['A', '4', '/u', 3],
      ['B', '5', '/one', 1],
      ['C', '7', '/two', 1],
    ]);
  });
});

describe('commandWords()', () => {
  const environment = new Map<string, Variable>([
    ['ARGS', { value: '--a --b', file: '/env', line: 3, plainFile: true }],
  ]);
  const rows: readonly (readonly [string, string, readonly string[] | undefined])[] = [
    ['a plain one', '/usr/bin/kubelet --x $ARGS', ['/usr/bin/kubelet', '--x', '--a', '--b']],
    ['prefixes', '-+/usr/bin/kubelet $ARGS', ['/usr/bin/kubelet', '--a', '--b']],
    ['a name of its own', '@/usr/bin/kubelet other --x', ['/usr/bin/kubelet', '--x']],
    ['variables left alone', ':/usr/bin/kubelet $ARGS', ['/usr/bin/kubelet', '$ARGS']],
    ['a quote without an end', '/usr/bin/kubelet "', undefined],
    [
      'percents and semicolons',
      '/usr/bin/kubelet 5%% \\; a;b',
      ['/usr/bin/kubelet', '5%', ';', 'a;b'],
    ],
  ];
  for (const [name, value, expected] of rows) {
    it(`commandWords() reads ${name}`, () => {
      const exec = { key: 'ExecStart', value, file: '/u', line: 7 };
      assert.deepEqual(
        commandWords(exec, environment)?.map(({ text }) => text),
        expected,
      );
    });
  }

  it('commandWords() says where each word was written', () => {
    const exec = { key: 'ExecStart', value: 'kubelet --x $ARGS', file: '/u', line: 7 };
    assert.deepEqual(
      commandWords(exec, environment)
        ?.slice(1)
        .map(({ origin }) => origin),
      [
        { kind: 'unit', file: '/u', line: 7 },
        { kind: 'variable', file: '/env', line: 3, variable: 'ARGS', word: 0, plainFile: true },
        { kind: 'variable', file: '/env', line: 3, variable: 'ARGS', word: 1, plainFile: true },
      ],
    );
  });
});
