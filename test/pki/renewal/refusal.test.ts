import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { AgentError } from '../../../src/core/errors.ts';
import { refusalOf } from '../../../src/pki/renewal/refusal.ts';

describe('refusalOf()', () => {
  it('tells a user without permissions to use root, not to change the owner', () => {
    const error = new AgentError('STORE_PERMISSIONS', 'cannot read /x', { remedy: 'chown /x' });
    const { message, remedy } = refusalOf(error);
    assert.equal(message, 'cannot read /x');
    assert.match(remedy ?? '', /^Run the command as root/);
  });

  it('keeps the remedy of other errors', () => {
    const error = new AgentError('CERT_EXPIRED', 'expired', { remedy: 'Replace the CA' });
    assert.equal(refusalOf(error).remedy, 'Replace the CA');
  });
});
