import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { StageFacts } from '../../src/core/trust-stage.ts';
import { trustStage } from '../../src/core/trust-stage.ts';
import type { TrustStage } from '../../src/core/trust.ts';

const base: StageFacts = {
  held: ['old', 'new'],
  isIncomplete: false,
  unwanted: [],
  isReaderPending: false,
  leaves: [{ isBehind: false }],
  issuer: 'old',
};
const behind = [{ isBehind: true }, { isBehind: false }];

const cases: readonly (readonly [string, Partial<StageFacts>, TrustStage])[] = [
  ['one CA', { held: ['old'] }, 'single'],
  ['one CA, and the source has another one', { held: ['old'], isIncomplete: true }, 'adding'],
  ['a kubelet that has not loaded the new CA', { isReaderPending: true }, 'adding'],
  ['a kubelet that has loaded its only CA', { held: ['old'], isReaderPending: true }, 'single'],
  ['two CAs, and the signer uses the first one', {}, 'union'],
  ['two CAs, and an unknown signer', { issuer: undefined }, 'union'],
  ['a certificate issued by another CA than the signer uses', { leaves: behind }, 'reissuing'],
  ['certificates issued by the new CA', { issuer: 'new' }, 'reissued'],
  ['a CA that the source lacks', { issuer: 'new', unwanted: ['old'] }, 'dropping'],
  [
    'a CA that the source lacks, and a certificate from that CA',
    { leaves: behind, unwanted: ['old'] },
    'reissuing',
  ],
];

describe('trustStage()', () => {
  for (const [what, facts, stage] of cases) {
    it(`is ${stage} with ${what}`, () => {
      assert.equal(trustStage({ ...base, ...facts }), stage);
    });
  }
});
