import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { trusting } from '../../../../src/trust/control-plane/steps/front-proxy.ts';
import { failed, rejected, viewWith } from '../front-proxy-view.ts';

describe('trusting()', () => {
  it('has the other nodes whose kube-apiserver accepts the CA', () => {
    assert.deepEqual(trusting('old', viewWith({})), ['cp2']);
    assert.deepEqual(trusting('old', viewWith({ accepts: rejected })), []);
    assert.deepEqual(trusting('next', viewWith({ acceptsNext: rejected })), []);
  });

  it('has an excepted node that is not off', () => {
    const except = ['cp2'];
    assert.deepEqual(trusting('old', viewWith({ except })), ['cp2']);
    assert.deepEqual(trusting('old', viewWith({ except, accepts: failed })), []);
  });

  it('counts the CAs in the report of a node without the key of the CA, unless the node is excepted', () => {
    const accepts = { kind: 'no-key' } as const;
    const view = viewWith({ accepts });
    assert.deepEqual(trusting('old', view), []);
    const [other] = view.facts.others;
    const report = other?.report && { ...other.report, frontProxyAuthorities: 2 };
    const others = [{ name: 'cp2', isReady: true, addresses: [], ...(report && { report }) }];
    const both = { ...view, facts: { ...view.facts, others } };
    assert.deepEqual(trusting('old', both), ['cp2']);
    const { question } = viewWith({ accepts, except: ['cp2'] });
    assert.deepEqual(trusting('old', { ...both, question }), []);
  });
});
