import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  isPairFile,
  pairFile,
  rolledBackFile,
  rolledBackPair,
  setAsideFile,
  setAsideMoment,
  splitPairFiles,
} from '../../src/store/pair-names.ts';

/** A local time, so that the test works in every time zone. */
const moment = new Date(2026, 2, 4, 5, 6, 7).getTime();

test('pairFile() uses local time as the kubelet does, and numbers duplicates', () => {
  assert.equal(pairFile('kubelet-client', moment), 'kubelet-client-2026-03-04-05-06-07.pem');
  assert.equal(pairFile('kubelet-client', moment, 2), 'kubelet-client-2026-03-04-05-06-07-2.pem');
});

test('pairFile() follows the time zone of the machine', (t) => {
  const { TZ: zone } = process.env;
  t.after(() => {
    if (zone === undefined) delete process.env['TZ'];
    else process.env['TZ'] = zone;
  });
  process.env['TZ'] = 'Asia/Kathmandu';
  // Five hours and three quarters ahead, so it is already the next year.
  const lateInTheYear = Date.UTC(2026, 11, 31, 18, 30, 0);
  assert.equal(pairFile('a', lateInTheYear), 'a-2027-01-01-00-15-00.pem');
});

const pairFiles: readonly (readonly [name: string, file: string, expected: boolean])[] = [
  ['kubelet-server', 'kubelet-server-2026-01-02-03-04-05.pem', true],
  ['kubelet-server', 'kubelet-server-2026-01-02-03-04-05-12.pem', true],
  ['kubelet-server-2', 'kubelet-server-2-2026-01-02-03-04-05.pem', true],
  ['kubelet-server', 'kubelet-server-2-2026-01-02-03-04-05.pem', false],
  ['kubelet-server', 'kubelet-server-2026-2026-01-02-03-04-05.pem', false],
  ['kubelet-server-2', 'kubelet-server-2026-01-02-03-04-05.pem', false],
  ['kubelet-server', 'kubelet-server-current.pem', false],
  ['kubelet-server', 'kubelet-server-2026-01-02-03-04-05.pem.corrupt-2026-01-02-03-04-05', false],
  ['kubelet-server', 'xkubelet-server-2026-01-02-03-04-05.pem', false],
  ['kubelet.server', 'kubelet-server-2026-01-02-03-04-05.pem', false],
];

for (const [name, file, expected] of pairFiles) {
  test(`isPairFile() is ${expected} for ${file} and ${name}`, () => {
    assert.equal(isPairFile(name, file), expected);
  });
}

test('setAsideMoment() recognizes names of setAsideFile(), of its own name only', () => {
  const file = setAsideFile(pairFile('a', moment), moment, 3);
  assert.equal(setAsideMoment('a', file), '2026-03-04-05-06-07-3');
  assert.equal(setAsideMoment('a', setAsideFile('a-current.pem', moment)), '2026-03-04-05-06-07');
  assert.equal(setAsideMoment('a', setAsideFile('a-2-current.pem', moment)), undefined);
  assert.equal(setAsideMoment('a', pairFile('a', moment)), undefined);
});

test('rolledBackPair() returns the key pair of a name of rolledBackFile()', () => {
  const pair = pairFile('a', moment, 1);
  const file = rolledBackFile(pair, moment, 2);
  assert.equal(rolledBackPair('a', file), pair);
  assert.equal(setAsideMoment('a', file), '2026-03-04-05-06-07-2');
  assert.equal(isPairFile('a', file), false);
  assert.equal(rolledBackPair('b', file), undefined);
  assert.equal(rolledBackPair('a', pair), undefined);
  assert.equal(rolledBackPair('a', setAsideFile(pair, moment)), undefined);
  assert.equal(rolledBackPair('a', rolledBackFile('a-current.pem', moment)), undefined);
});

test('splitPairFiles() adds self-signed files of the kubelet for serving only', () => {
  assert.deepEqual(splitPairFiles('kubelet-client'), [
    { certificate: 'kubelet-client.crt', key: 'kubelet-client.key' },
  ]);
  assert.deepEqual(
    splitPairFiles('kubelet-server').map(({ key }) => key),
    ['kubelet-server.key', 'kubelet.key'],
  );
});
