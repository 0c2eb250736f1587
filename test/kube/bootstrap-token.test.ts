import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Secret } from '../../src/core/secret.ts';
import { bootstrapTokenId, jwtExpiry, readBootstrapToken } from '../../src/kube/bootstrap-token.ts';
import { startSandbox } from '../sandbox/sandbox.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { clientFor } from './support/kubeconfig-client.ts';

const { signal } = new AbortController();

function secret(text: string): Secret {
  return new Secret(new TextEncoder().encode(text));
}

function jwt(claims: unknown): string {
  return ['{"alg":"RS256"}', JSON.stringify(claims), 'signature']
    .map((part) => Buffer.from(part).toString('base64url'))
    .join('.');
}

describe('bootstrapTokenId()', () => {
  const rows = [
    ['abcdef.0123456789abcdef', 'abcdef'],
    ['abcdef.0123456789abcdef\n', 'abcdef'],
    ['abcdef.0123456789abcde', undefined],
    ['ABCDEF.0123456789abcdef', undefined],
    [jwt({ exp: 1 }), undefined],
    ['', undefined],
  ] as const;
  for (const [token, expected] of rows) {
    it(`returns ${expected} for ${JSON.stringify(token)}`, () => {
      assert.equal(bootstrapTokenId(secret(token)), expected);
    });
  }
});

describe('jwtExpiry()', () => {
  const rows = [
    ['a token with an end', jwt({ exp: 1_800_000_000 }), 1_800_000_000_000],
    ['one without', jwt({ sub: 'x' }), undefined],
    ['an end after the end of time', jwt({ exp: 1e300 }), undefined],
    ['an end that is no number', jwt({ exp: 'soon' }), undefined],
    ['claims that are no JSON', 'eyJ.!!!!.x', undefined],
    ['claims that are base64 of nothing', 'eyJ.AAAA.x', undefined],
    ['a bootstrap token', 'abcdef.0123456789abcdef', undefined],
  ] as const;
  for (const [name, token, expected] of rows) {
    it(`returns ${expected} for ${name}`, () => {
      assert.equal(jwtExpiry(secret(token)), expected);
    });
  }
});

describe('readBootstrapToken()', () => {
  it('reads the expiry with the right to read the Secret', async () => {
    const before = Date.now();
    await using sandbox = await startSandbox({
      clock: systemClock,
      bootstrapToken: 'abcdef.0123456789abcdef',
      bootstrapTokenSeconds: 3_600,
    });
    await using admin = await clientFor(sandbox.adminKubeconfig());
    const found = await readBootstrapToken(admin, 'abcdef', signal);
    assert.ok(typeof found === 'object' && found.forAuthentication);
    // The Secret has whole seconds.
    assert.ok(Math.abs((found.expiration ?? 0) - before - 3_600_000) < 5_000);
    assert.equal(await readBootstrapToken(admin, 'other1', signal), 'absent');
    await using bearer = await clientFor(sandbox.bootstrapKubeconfig());
    assert.equal(await readBootstrapToken(bearer, 'abcdef', signal), 'forbidden');
  });

  it('reads a token without an expiry', async () => {
    await using sandbox = await startSandbox({
      clock: systemClock,
      bootstrapToken: 'abcdef.0123456789abcdef',
    });
    await using admin = await clientFor(sandbox.adminKubeconfig());
    const found = await readBootstrapToken(admin, 'abcdef', signal);
    assert.deepEqual(found, { forAuthentication: true });
  });
});
