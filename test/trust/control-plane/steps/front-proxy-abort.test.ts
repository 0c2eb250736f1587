import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { systemClock } from '../../../../src/sys/clock.ts';
import type { Stage } from '../../../../src/trust/control-plane/task.ts';
import { reasonsAgainstAbort } from '../../../../src/trust/control-plane/steps/front-proxy-abort.ts';
import { contextWith, next } from '../check-context.ts';
import type { OtherServer } from '../front-proxy-view.ts';
import { failed, rejected, viewWith } from '../front-proxy-view.ts';

async function reasons(
  latest: Stage,
  found: OtherServer,
  keys: 'both' | 'next' = 'both',
): Promise<string[]> {
  const { node } = await contextWith({ apiServer: 0 }, { clock: systemClock, ca: 'front-proxy' });
  const { key, ...certificate } = node.old;
  const known = { ...node, old: keys === 'both' && key ? { ...certificate, key } : certificate };
  return reasonsAgainstAbort({ latest, node: known }, viewWith(found)).map(
    ({ message }) => message,
  );
}

describe('reasonsAgainstAbort()', () => {
  it('is empty while every kube-apiserver has a certificate from the old CA', async () => {
    assert.deepEqual(await reasons('trust', {}), []);
    assert.deepEqual(await reasons('create', {}), []);
  });

  it('names a certificate from the new CA, and a server without an answer, after trust', async () => {
    const [used = ''] = await reasons('trust', { issuer: next });
    assert.match(used, /^kube-apiserver may use a front-proxy-client certificate from the new CA$/);
    const [silent = ''] = await reasons('trust', { acceptsNext: failed });
    assert.match(silent, /^kube-apiserver on cp2 does not answer a probe/);
  });

  it('names a server that rejects the old CA, and a lost key, after switch', async () => {
    assert.deepEqual(await reasons('switch', { issuer: next }), []);
    const [dropped = ''] = await reasons('switch', { accepts: rejected });
    assert.match(dropped, /^kube-apiserver on cp2 rejects .* from the old CA$/);
    assert.deepEqual(await reasons('switch', {}, 'next'), [
      'the key of the old CA is not on this node',
    ]);
  });
});
