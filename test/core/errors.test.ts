import assert from 'node:assert/strict';
import { glob, readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import {
  AgentError,
  attemptCodes,
  describeError,
  errorCodes,
  hasErrno,
  toError,
  toFailure,
} from '../../src/core/errors.ts';
import { remedies } from '../../src/core/remedies.ts';

describe('errorCodes', () => {
  it('are unique, and valid metric labels', () => {
    assert.equal(new Set(errorCodes).size, errorCodes.length);
    for (const code of errorCodes) assert.match(code, /^[A-Z]+(_[A-Z]+)*$/);
  });
});

describe('remedies', () => {
  it('exist for every code, and for nothing else', () => {
    assert.deepEqual(Object.keys(remedies).sort(), [...errorCodes].sort());
  });
});

describe('attemptCodes', () => {
  const source = join(import.meta.dirname, '../../src');
  /** The enroller handles these two itself: it restarts the watch, or stops. */
  const handled = new Set(['API_GONE', 'ABORTED']);
  /** Of parts of src/store that only commands use. */
  const ofCommands = new Set(['FILE_CHANGED', 'CONFIG_INVALID', 'BOOTSTRAP_EXISTS']);

  for (const folder of ['enroller', 'kube', 'store']) {
    it(`contain every code in src/${folder}`, async () => {
      const found = new Set<string>();
      for await (const file of glob(join(source, folder, '*.ts'))) {
        const words = (await readFile(file, 'utf8')).matchAll(/'([A-Z]+(?:_[A-Z]+)*)'/g);
        for (const [, word = ''] of words) {
          if (errorCodes.some((code) => code === word)) found.add(word);
        }
      }
      assert.ok(found.size > 0);
      const known = new Set<string>([...attemptCodes, ...handled, ...ofCommands]);
      assert.deepEqual(
        [...found].filter((code) => !known.has(code)),
        [],
      );
    });
  }
});

describe('AgentError', () => {
  it('carries code, cause, remedy and Retry-After', () => {
    const cause = new Error('socket hang up');
    const error = new AgentError('API_THROTTLED', 'POST was throttled', {
      cause,
      remedy: 'Wait',
      retryAfterMs: 5_000,
    });
    assert.equal(error.name, 'AgentError');
    assert.equal(error.code, 'API_THROTTLED');
    assert.equal(error.cause, cause);
    assert.equal(error.remedy, 'Wait');
    assert.equal(error.retryAfterMs, 5_000);
    assert.match(error.stack ?? '', /errors\.test\.ts/);
  });

  it('has no cause unless it gets one', () => {
    assert.equal('cause' in new AgentError('INTERNAL', 'x'), false);
  });
});

describe('toFailure()', () => {
  it('is plain data that survives JSON and structuredClone', () => {
    const failure = toFailure(
      new AgentError('CSR_DENIED', 'CSR a was denied', {
        cause: new Error('policy'),
        remedy: 'Ask',
        retryAfterMs: 1,
      }),
    );
    assert.deepEqual(failure, {
      code: 'CSR_DENIED',
      message: 'CSR a was denied: policy',
      remedy: 'Ask',
      retryAfterMs: 1,
    });
    assert.deepEqual(JSON.parse(JSON.stringify(failure)), failure);
    assert.deepEqual(structuredClone(failure), failure);
  });

  it('leaves out unknown properties instead of setting them to undefined', () => {
    const failure = toFailure(new AgentError('STORE_IO', 'fsync failed'));
    assert.deepEqual(Object.keys(failure).sort(), ['code', 'message', 'remedy']);
  });

  it('turns anything but an AgentError into INTERNAL', () => {
    const odd: readonly unknown[] = [new TypeError('x is not a function'), 'text', 7, null];
    for (const thrown of odd) {
      const failure = toFailure(thrown);
      assert.equal(failure.code, 'INTERNAL');
      assert.notEqual(failure.message, '');
    }
  });
});

describe('toError()', () => {
  it('returns an error with the same failure', () => {
    for (const details of [{}, { remedy: 'Ask', retryAfterMs: 1 }]) {
      const failure = toFailure(new AgentError('CSR_DENIED', 'CSR a was denied', details));
      assert.deepEqual(toFailure(toError(failure)), failure);
    }
  });
});

describe('describeError()', () => {
  const cases: readonly (readonly [string, unknown, string])[] = [
    ['one error', new Error('a'), 'a'],
    [
      'a chain of causes',
      new Error('a', { cause: new Error('b', { cause: new Error('c') }) }),
      'a: b: c',
    ],
    ['a cause that its wrapper quotes appears once', nested('read: EIO', 'EIO'), 'read: EIO'],
    [
      'a missing file is reported once',
      nested('/a does not exist', "ENOENT: no such file or directory, stat '/a'"),
      '/a does not exist',
    ],
    [
      'another error on the path to a file is added',
      nested('/a/b does not exist', "ENOTDIR: not a directory, stat '/a/b'"),
      "/a/b does not exist: ENOTDIR: not a directory, stat '/a/b'",
    ],
    [
      'a missing file is named if the message does not name it',
      nested('cannot start', "ENOENT: no such file or directory, open '/a'"),
      "cannot start: ENOENT: no such file or directory, open '/a'",
    ],
    ['an error without a message has its name', new TypeError(''), 'TypeError'],
    ['a cause that is a text', new Error('a', { cause: 'why' }), 'a: why'],
    ['a thrown number', 42, 'thrown number'],
    ['a thrown undefined', undefined, 'thrown undefined'],
  ];
  for (const [name, thrown, expected] of cases) {
    it(name, () => assert.equal(describeError(thrown), expected));
  }

  it('ends at a cause that is a cycle', () => {
    const error = new Error('round');
    error.cause = new Error('and round', { cause: error });
    assert.equal(describeError(error).startsWith('round: and round'), true);
  });
});

describe('hasErrno()', () => {
  it('recognizes the error of a real socket', async () => {
    const error = await new Promise<unknown>((resolve) => {
      connect({ path: '/nonexistent/socket' }).once('error', resolve);
    });
    assert.equal(hasErrno(error, 'EACCES', 'ENOENT'), true);
    assert.equal(hasErrno(error, 'EACCES'), false);
  });

  it('is false for anything but an error', () => {
    for (const other of [undefined, null, 'ENOENT', { code: 'ENOENT' }, new Error('ENOENT')]) {
      assert.equal(hasErrno(other, 'ENOENT'), false);
    }
  });
});

function nested(message: string, cause: string): Error {
  return new Error(message, { cause: new Error(cause) });
}
