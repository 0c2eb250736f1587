import assert from 'node:assert/strict';
import { describe, it, test } from 'node:test';
import {
  flagValue,
  flagsOf,
  namedCertificates,
  parseComponentFlags,
} from '../../../src/pki/components/component-flags.ts';
import { expandVariables, variableIn } from '../../../src/pki/components/expansion.ts';

describe('parseComponentFlags()', () => {
  for (const [words, expected] of [
    [
      ['--a=b', '--c', 'd'],
      ['a=b', 'c=d'],
    ],
    [
      ['-cert-file=/x', '-key-file', '/y'],
      ['cert-file=/x', 'key-file=/y'],
    ],
    [['--tls_cert_file=/a_b'], ['tls-cert-file=/a_b']],
    [
      ['--switch', '--a=b=c'],
      ['switch=', 'a=b=c'],
    ],
    [
      ['--a=', '--b', ''],
      ['a=', 'b='],
    ],
    [['--a=1', '--', '--b=2'], ['a=1']],
    [['stray', '--a=1', 'stray', '-', '---', '--=x', '--_a=b'], ['a=1']],
    [['--a=x\ny'], ['a=x\ny']],
    [['--last'], ['last=']],
  ] as const) {
    it(`reads ${JSON.stringify(words)}`, () => {
      const flags = parseComponentFlags(words);
      assert.deepEqual(
        flags.map(({ name, value }) => `${name}=${value}`),
        expected,
      );
    });
  }
});

describe('flagsOf()', () => {
  const environment = new Map([
    ['ETCD_CERT_FILE', '/environment'],
    ['ETCD_KEY_FILE', '/key'],
    ['ETCD_NAME', ''],
    ['ETCDCTL_CACERT', '/ca'],
  ]);
  const words = ['--cert-file=/flag'];

  it('adds the environment of etcd, which the command line overrides', () => {
    assert.deepEqual(flagsOf({ name: 'etcd', words }, environment), [
      { name: 'cert-file', value: '/flag' },
      { name: 'key-file', value: '/key' },
    ]);
  });

  it('does not read the environment of other components', () => {
    assert.deepEqual(flagsOf({ name: 'kube-scheduler', words }, environment), [
      { name: 'cert-file', value: '/flag' },
    ]);
  });
});

describe('flagValue()', () => {
  it('is the last of several values, and undefined for an empty one', () => {
    const flags = parseComponentFlags(['--a=1', '--a=2', '--b=1', '--b=']);
    assert.deepEqual(
      [flagValue(flags, 'a'), flagValue(flags, 'b'), flagValue(flags, 'c')],
      ['2', undefined, undefined],
    );
  });
});

describe('namedCertificates()', () => {
  for (const [value, names] of [
    ['/x.crt,/x.key', []],
    ['/x.crt,/x.key:foo', ['foo']],
    [' /x.crt , /x.key : *.a.example , 10.0.0.1', ['*.a.example', '10.0.0.1']],
    ['/x.crt,/x.key:', []],
  ] as const) {
    it(`reads ${JSON.stringify(value)}`, () => {
      assert.deepEqual(namedCertificates([{ name: 'tls-sni-cert-key', value }]), [
        { certificateFile: '/x.crt', keyFile: '/x.key', names },
      ]);
    });
  }

  it('reads each occurrence, and skips values that no server accepts', () => {
    const values = ['/a.crt,/a.key', '/b.crt', ',/c.key', '', '/d.crt,/d.key,/e'];
    const flags = values.map((value) => ({ name: 'tls-sni-cert-key', value }));
    assert.deepEqual(
      namedCertificates([...flags, { name: 'tls-sni-cert-key', value: '/f.crt,/f.key' }]).map(
        ({ certificateFile }) => certificateFile,
      ),
      ['/a.crt', '/f.crt'],
    );
  });
});

describe('expandVariables()', () => {
  const variables = new Map([
    ['A', '1'],
    ['B', '$(A)'],
  ]);
  // The cases of third_party/forked/golang/expansion/expand_test.go.
  for (const [text, expected] of [
    ['$(A)-$(B)', '1-$(A)'],
    ['$(NONE)', '$(NONE)'],
    ['$$(A)', '$(A)'],
    ['$$$(A)', '$1'],
    ['$$$$(A)', '$$(A)'],
    ['$(A', '$(A'],
    ['$A', '$A'],
    ['foo$', 'foo$'],
    ['$()', '$()'],
  ] as const) {
    it(`makes ${expected} of ${text}`, () => {
      assert.equal(expandVariables(text, variables), expected);
    });
  }
});

test('variableIn() finds a variable without a value', () => {
  assert.equal(variableIn('https://$(POD_IP):2379'), '$(POD_IP)');
  assert.equal(variableIn('/etc/$HOME'), undefined);
});
