import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { TrustAnnotation } from '../../src/core/trust-annotation.ts';
import {
  formatTrustAnnotation,
  longestTrustAnnotation,
  parseTrustAnnotation,
} from '../../src/core/trust-annotation.ts';

const [old, next] = ['0123456789abcdef', 'fedcba9876543210'];

const annotation: TrustAnnotation = {
  stage: 'union',
  places: { kubeconfig: [old, next], clientCa: [next] },
  leaf: { 'kubelet-client': old, 'kubelet-server': '' },
  readers: 'ok',
  reportedAt: Date.UTC(2026, 10, 29, 12),
};

const text = `{"v":1,"stage":"union","cas":["${old}","${next}"],"places":{"kubeconfig":[0,1],"clientCA":[1]},"leaf":{"kubelet-client":"${old}","kubelet-server":""},"readers":"ok","t":"2026-11-29T12:00:00Z"}`;

describe('formatTrustAnnotation()', () => {
  it('writes each CA once', () => {
    assert.equal(formatTrustAnnotation(annotation), text);
  });

  it('stays below the limit with sixteen CAs in both places', () => {
    const cas = Array.from({ length: 16 }, (_, index) => index.toString(16).padStart(16, '0'));
    const longest = formatTrustAnnotation({
      ...annotation,
      stage: 'reissuing',
      places: { kubeconfig: cas, clientCa: cas },
      leaf: { 'kubelet-client': old, 'kubelet-server': next },
      unread: cas,
      clientReadAt: annotation.reportedAt,
    });
    assert.ok(longest.length <= longestTrustAnnotation, `${longest.length}`);
    assert.deepEqual(parseTrustAnnotation(longest)?.places.clientCa, cas);
  });
});

describe('parseTrustAnnotation()', () => {
  it('reads what was written', () => {
    assert.deepEqual(parseTrustAnnotation(text), annotation);
  });

  it('reads when the kubelet uses its client certificate', () => {
    const pending = { ...annotation, clientReadAt: Date.UTC(2026, 10, 29, 12, 6) };
    assert.deepEqual(parseTrustAnnotation(formatTrustAnnotation(pending)), pending);
  });

  it('reads which CAs the kubelet may not use', () => {
    const pending = { ...annotation, readers: 'pending', unread: [next] } as const;
    assert.deepEqual(parseTrustAnnotation(formatTrustAnnotation(pending)), pending);
  });

  for (const [what, damaged] of [
    ['another version', text.replace('"v":1', '"v":2')],
    ['an unknown stage', text.replace('"union"', '"done"')],
    ['a short fingerprint', text.replace(old, old.slice(1))],
    ['an index without a CA', text.replace('[0,1]', '[0,2]')],
    ['an index that is a text', text.replace('[0,1]', '["0"]')],
    ['an index that is a property', text.replace('[0,1]', '["length"]')],
    ['an issuer that is a number', text.replace(`"kubelet-server":""`, `"kubelet-server":1`)],
    ['a reader state that is unknown', text.replace('"ok"', '"no"')],
    ['a time without a zone', text.replace('00Z', '00')],
    ['a time that is a number', text.replace(',"t"', ',"clientReadAt":1,"t"')],
    ['a list instead of an object', `[${text}]`],
    ['text that is cut off', text.slice(0, -1)],
    ['a text that is too long', `${text}${' '.repeat(longestTrustAnnotation)}`],
  ] as const) {
    it(`refuses ${what}`, () => {
      assert.equal(parseTrustAnnotation(damaged), undefined);
    });
  }
});
