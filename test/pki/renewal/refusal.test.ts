import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { AgentError } from '../../../src/core/errors.ts';
import { refusalOf, withRootRemedy } from '../../../src/pki/renewal/refusal.ts';

function permissions(code: string): AgentError {
  const cause = Object.assign(new Error(code), { code });
  return new AgentError('STORE_PERMISSIONS', 'cannot read /x', { cause, remedy: 'chown /x' });
}

describe('refusalOf()', () => {
  it('tells a user without permissions to use root, not to change the owner', () => {
    const { message, remedy } = refusalOf(permissions('EACCES'));
    assert.equal(message, 'cannot read /x: EACCES');
    assert.match(remedy ?? '', /^Run the command as root/);
  });

  it('keeps the remedy of a read-only file system and of other errors', () => {
    assert.equal(refusalOf(permissions('EROFS')).remedy, 'chown /x');
    const error = new AgentError('CERT_EXPIRED', 'expired', { remedy: 'Replace the CA' });
    assert.equal(refusalOf(error).remedy, 'Replace the CA');
  });
});

describe('withRootRemedy()', () => {
  it('replaces only the remedy of missing permissions, and keeps the cause', async () => {
    const error = permissions('EPERM');
    await assert.rejects(
      withRootRemedy(() => Promise.reject(error)),
      (found: AgentError) =>
        found.message === error.message &&
        found.cause === error.cause &&
        (found.remedy ?? '').startsWith('Run the command as root'),
    );
    const other = permissions('EROFS');
    await assert.rejects(
      withRootRemedy(() => Promise.reject(other)),
      other,
    );
    assert.equal(await withRootRemedy(() => Promise.resolve(1)), 1);
  });
});
