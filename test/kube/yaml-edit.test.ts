import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { parse, stringify } from 'yaml';
import type { KeyEdit } from '../../src/kube/yaml-edit.ts';
import { editYaml, isYamlMap } from '../../src/kube/yaml-edit.ts';

const off: KeyEdit = { path: ['rotateCertificates'], value: false };
const file: KeyEdit = { path: ['tlsCertFile'], value: '/pki/a.pem' };

describe('editYaml()', () => {
  const rows: readonly (readonly [string, string, readonly KeyEdit[], string])[] = [
    [
      'a value, with its comment kept',
      '# head\nrotateCertificates: true   # by kubeadm\n\nother:\n- 1\n',
      [off],
      '# head\nrotateCertificates: false   # by kubeadm\n\nother:\n- 1\n',
    ],
    [
      'a value in double quotes, with its quotes',
      `tlsCertFile: "/old"\n`,
      [file],
      'tlsCertFile: "/pki/a.pem"\n',
    ],
    [
      'a value in single quotes, with its quotes',
      `tlsCertFile: '/old' # x\n`,
      [file],
      `tlsCertFile: '/pki/a.pem' # x\n`,
    ],
    [
      'an absent value',
      'tlsCertFile: # none\na: 1\n',
      [file],
      'tlsCertFile: /pki/a.pem # none\na: 1\n',
    ],
    [
      'an entry of a list, with its comment kept',
      'a:\n  - x\n  - y # the second\n  - z\n',
      [{ path: ['a', 1], value: '--y=1' }],
      'a:\n  - x\n  - --y=1 # the second\n  - z\n',
    ],
    [
      'an entry of a list in brackets',
      'a: [x, "y"]\n',
      [{ path: ['a', 1], value: 'z' }],
      'a: [x, "z"]\n',
    ],
    ['a null', 'tlsCertFile: null\na: 1\n', [file], 'tlsCertFile: /pki/a.pem\na: 1\n'],
    ['a value of another type', 'tlsCertFile: 12\n', [file], 'tlsCertFile: /pki/a.pem\n'],
    ['a quoted key', `"tlsCertFile": /old\n`, [file], `"tlsCertFile": /pki/a.pem\n`],
    [
      'a new key at the end',
      'a: 1\nb:\n- x\n- y\n',
      [file],
      'a: 1\nb:\n- x\n- y\ntlsCertFile: /pki/a.pem\n',
    ],
    [
      'a new key after a last line without a line break',
      'a: 1',
      [file],
      'a: 1\ntlsCertFile: /pki/a.pem\n',
    ],
    [
      'a new key after a block scalar',
      'a: |\n  x\n  y\n',
      [file],
      'a: |\n  x\n  y\ntlsCertFile: /pki/a.pem\n',
    ],
    [
      'a new key before the comments at the end',
      'a: 1\n\n# the end\n',
      [file],
      'a: 1\ntlsCertFile: /pki/a.pem\n\n# the end\n',
    ],
    [
      'a document with its markers',
      '---\na: 1\n...\n',
      [file],
      '---\na: 1\ntlsCertFile: /pki/a.pem\n...\n',
    ],
    [
      'line ends of elsewhere',
      'a: 1\r\nb: 2\r\n',
      [file],
      'a: 1\r\nb: 2\r\ntlsCertFile: /pki/a.pem\r\n',
    ],
    ['a removed key', 'a: 1\nb: 2 # gone\nc: 3\n', [{ path: ['b'] }], 'a: 1\nc: 3\n'],
    ['a removed block scalar', 'a: 1\nb: |\n  x\n  y\nc: 3\n', [{ path: ['b'] }], 'a: 1\nc: 3\n'],
    ['a removed key that does not exist', 'a: 1\n', [{ path: ['b'] }], 'a: 1\n'],
    [
      'a nested key and removes another',
      'users:\n- name: n\n  user:\n    token: t\n    client-key-data: xx\n    other: 1\n',
      [
        { path: ['users', 0, 'user', 'client-key'], value: '/k' },
        { path: ['users', 0, 'user', 'client-key-data'] },
      ],
      'users:\n- name: n\n  user:\n    token: t\n    other: 1\n    client-key: /k\n',
    ],
    [
      'a string that one version of YAML reads as another type',
      'a: 1\n',
      [
        { path: ['b'], value: 'yes' },
        { path: ['c'], value: '0o7' },
      ],
      `a: 1\nb: "yes"\nc: "0o7"\n`,
    ],
    [
      'JSON, with its indentation',
      '{\n    "a": [1, 2],\n    "rotateCertificates": true\n}\n',
      [off, file],
      '{\n    "a": [1, 2],\n    "rotateCertificates": false,\n    "tlsCertFile": "/pki/a.pem"\n}\n',
    ],
    ['JSON on one line', '{"a":1}', [off], '{"a":1,"rotateCertificates": false}'],
    ['JSON with a key removed', '{"a": 1, "b": 2, "c": 3}', [{ path: ['b'] }], '{"a": 1, "c": 3}'],
    ['JSON with its last key removed', '{"a": 1,\n "b": 2}', [{ path: ['b'] }], '{"a": 1}'],
    [
      'a map in braces',
      '# c\n{a: 1, b: 2}\n',
      [off],
      '# c\n{a: 1, b: 2, rotateCertificates: false}\n',
    ],
    ['a block scalar', 'tlsCertFile: |\n  a\nb: 1\n', [file], 'tlsCertFile: /pki/a.pem\nb: 1\n'],
  ];
  for (const [name, before, edits, after] of rows) {
    it(`editYaml() changes ${name}`, () => assert.equal(editYaml(before, edits), after));
  }

  const refused: readonly (readonly [string, string, readonly KeyEdit[]])[] = [
    ['an entry that a list does not have', 'a: [x]\n', [{ path: ['a', 1], value: 'y' }]],
    ['the removal of an entry of a list', 'a: [x]\n', [{ path: ['a', 0] }]],
    ['a brace without valid JSON', '{a: 1}', [off]],
    ['an anchor', 'rotateCertificates: &x true\nb: *x\n', [off]],
    ['an alias', 'b: &x true\nrotateCertificates: *x\n', [off]],
    ['a tag', 'rotateCertificates: !!bool true\n', [off]],
    ['a list as the value', 'tlsCertFile:\n- a\n', [file]],
    ['a syntax error', 'a: [1\n', [off]],
    ['two documents', 'a: 1\n---\nb: 2\n', [off]],
    ['a duplicate key', 'a: 1\na: 2\n', [off]],
    ['a text', 'only words\n', [off]],
    ['nothing', '', [off]],
    ['a missing map', 'a: 1\n', [{ path: ['users', 0, 'user', 'x'], value: 'y' }]],
    ['the only key of a map', 'a:\n  b: 1\n', [{ path: ['a', 'b'] }]],
  ];
  for (const [name, text, edits] of refused) {
    it(`editYaml() refuses ${name}`, () => assert.equal(editYaml(text, edits), undefined));
  }

  it('editYaml() makes the intended edits and changes no other line', () => {
    const key = fc.stringMatching(/^[a-z][A-Za-z]{0,10}$/);
    const scalar = fc.oneof(fc.boolean(), fc.integer(), fc.string(), fc.constant(null));
    const value = fc.oneof(
      scalar,
      fc.array(scalar, { maxLength: 3 }),
      fc.dictionary(key, scalar, { maxKeys: 3, noNullPrototype: true }),
    );
    const maps = fc.dictionary(key, value, { minKeys: 1, maxKeys: 6, noNullPrototype: true });
    const layouts = fc.record({ indentSeq: fc.boolean(), indent: fc.constantFrom(2, 4) });
    fc.assert(
      fc.property(maps, layouts, key, (map, layout, name) => {
        fc.pre(map[name] === undefined || typeof map[name] !== 'object');
        const text = stringify(map, { ...layout, lineWidth: 0 });
        const edited = editYaml(text, [{ path: [name], value: false }]);
        fc.pre(edited !== undefined);
        assert.deepEqual(parse(edited), { ...map, [name]: false });
        const lines = new Set(edited.split('\n'));
        const gone = text.split('\n').filter((line) => !lines.has(line));
        assert.ok(
          gone.every((line) => line.startsWith(`${name}:`)),
          gone.join('|'),
        );
      }),
    );
  });
});

describe('isYamlMap()', () => {
  for (const [text, expected] of [
    ['a: 1\n', true],
    ['{"a":1}', true],
    ['- a\n', false],
    ['A=1\n', false],
    ['a: [', false],
    [undefined, false],
  ] as const) {
    it(`isYamlMap() is ${expected} for ${JSON.stringify(text)}`, () => {
      assert.equal(isYamlMap(text), expected);
    });
  }
});
