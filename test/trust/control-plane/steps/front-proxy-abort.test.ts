import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { shortFingerprint } from '../../../../src/core/trust.ts';
import { systemClock } from '../../../../src/sys/clock.ts';
import type { Stage } from '../../../../src/trust/control-plane/task.ts';
import type { FrontProxyView } from '../../../../src/trust/control-plane/steps/front-proxy.ts';
import { reasonsAgainstAbort } from '../../../../src/trust/control-plane/steps/front-proxy-abort.ts';
import { contextWith, next, old } from '../check-context.ts';

const accepted = { kind: 'accepted' } as const;
const rejected = { kind: 'rejected' } as const;
const failed = { kind: 'failed', reason: 'socket hang up' } as const;

interface OtherServer {
  /** Whether kube-apiserver on cp2 accepts each CA. */
  readonly accepts?: FrontProxyView['facts']['servers'][number]['old'];
  readonly acceptsNext?: FrontProxyView['facts']['servers'][number]['next'];
  /** The CA that issued its certificate. */
  readonly issuer?: typeof old;
}

function viewWith({
  accepts = accepted,
  acceptsNext = accepted,
  issuer = old,
}: OtherServer): FrontProxyView {
  const report = {
    authorities: [],
    leaves: {},
    startedAt: {},
    reportedAt: 0,
    frontProxyClient: shortFingerprint(issuer.authority.fingerprint),
  };
  return {
    facts: {
      servers: [
        { name: 'cp1', isOwn: true, old: accepted, next: accepted },
        { name: 'cp2', isOwn: false, old: accepts, next: acceptsNext },
      ],
      published: [old.authority, next.authority],
      apis: [],
      others: [{ name: 'cp2', isReady: true, addresses: [], report }],
    },
    question: {
      authorities: { old: old.authority, next: next.authority },
      except: new Set(),
    },
  };
}

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
