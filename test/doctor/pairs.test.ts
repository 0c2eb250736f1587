import assert from 'node:assert/strict';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { CertificateSpec } from '../../src/core/certificate-spec.ts';
import { nodeSubject } from '../../src/core/certificate-spec.ts';
import { day, minute } from '../../src/core/instant.ts';
import type { PairState } from '../../src/doctor/pairs.ts';
import { pairFindings, inspectPairs, usableClientPair } from '../../src/doctor/pairs.ts';
import { agentConfig } from '../keeper/fixtures.ts';
import { clientTemplate, pairFor, servingSpec } from '../core/fixtures.ts';
import { makePair, present, temporaryDirectory } from '../store/pairs.ts';
import { summaryOf, textOf } from './findings.ts';

const now = Date.UTC(2026, 0, 15);
const spec: CertificateSpec = {
  ...servingSpec,
  ...clientTemplate,
  name: 'kubelet-client',
  profile: 'kubelet-client',
  addresses: 'static',
};
const dates = { notBefore: now - day, notAfter: now + 30 * day, storedAt: now - day };
const pair = pairFor(clientTemplate, dates);
const healthy: PairState = {
  spec,
  link: '/pki/kubelet-client-current.pem',
  kind: 'link',
  target: '/pki/kubelet-client-2026.pem',
  mode: 0o600,
  pair,
};
const { pair: _, mode: __, ...gone } = healthy;
const malformed = { code: 'PAIR_MALFORMED', message: 'it is empty' } as const;
const denied = { code: 'STORE_PERMISSIONS', message: 'EACCES' } as const;

describe('pairFindings()', () => {
  const rows: readonly (readonly [string, PairState, readonly string[]])[] = [
    ['a valid certificate', healthy, ['ok pair']],
    ['a missing link', { spec, link: '/x', kind: 'missing' }, ['info pair-missing']],
    ['a dangling link', gone, ['error pair-dangling']],
    ['a file instead of a link', { ...healthy, kind: 'file' }, ['warning pair-plain-file']],
    ['a truncated file', { ...gone, failure: malformed }, ['error pair-damaged']],
    ['an unreadable file', { ...gone, failure: denied }, ['warning pair-unreadable']],
    ['a key that other users can read', { ...healthy, mode: 0o644 }, ['warning pair-permissions']],
    [
      'an expired certificate',
      { ...healthy, pair: { ...pair, notAfter: now - 1 } },
      ['error pair-expired'],
    ],
    [
      'an overdue rotation',
      {
        ...healthy,
        pair: { ...pair, notBefore: now - 30 * day, storedAt: now - 30 * day, notAfter: now + day },
      },
      ['warning pair-expiring'],
    ],
    [
      'a certificate that is not valid yet',
      { ...healthy, pair: { ...pair, notBefore: now + day } },
      ['error pair-not-yet-valid'],
    ],
    [
      'a temporary self-signed certificate',
      { ...healthy, spec: servingSpec, pair: { ...pair, selfSigned: true } },
      ['info pair-self-signed'],
    ],
    [
      'the client certificate of another node',
      { ...healthy, pair: { ...pair, subject: nodeSubject('other') } },
      ['error node-name-mismatch'],
    ],
    [
      'the serving certificate of another node',
      { ...healthy, spec: servingSpec, pair: { ...pair, subject: nodeSubject('other') } },
      ['warning node-name-mismatch'],
    ],
  ];
  for (const [name, state, expected] of rows) {
    it(`finds ${expected.join()} for ${name}`, () => {
      const findings = pairFindings([state], { nodeName: 'worker-1', observed: new Set(), now });
      assert.deepEqual(summaryOf(findings), expected);
      assert.equal(findings[0]?.subject, state.spec.name);
    });
  }

  it('gives the kubelet until the latest of its deadlines', () => {
    assert.deepEqual(findingsOf(0.9, []), ['warning pair-expiring']);
    assert.deepEqual(findingsOf(0.9, [spec.name]), ['ok pair']);
    assert.deepEqual(findingsOf(0.95, [spec.name]), ['warning pair-expiring']);
  });

  it('uses the rotation window of the certificate', () => {
    const early = { ...spec, rotationWindow: { from: 0.1, to: 0.11 } };
    const query = { nodeName: 'worker-1', observed: new Set<string>(), now: now + 5 * day };
    assert.deepEqual(summaryOf(pairFindings([healthy], query)), ['ok pair']);
    assert.deepEqual(summaryOf(pairFindings([{ ...healthy, spec: early }], query)), [
      'warning pair-expiring',
    ]);
  });

  it('names the node that the certificate is for', () => {
    const other = { ...healthy, pair: { ...pair, subject: nodeSubject('other') } };
    const found = textOf(pairFindings([other], { nodeName: 'worker-1', observed: new Set(), now }));
    assert.match(
      found,
      /is for system:node:other, but the configuration says system:node:worker-1/,
    );
    assert.match(found, /--hostname-override\) to other/);
  });
});

describe('usableClientPair()', () => {
  it('returns only a client certificate that is valid now', () => {
    assert.equal(usableClientPair([healthy], now), pair);
    assert.equal(usableClientPair([healthy], pair.notAfter), undefined);
    assert.equal(usableClientPair([healthy], pair.notBefore - minute), undefined);
    assert.equal(usableClientPair([{ ...healthy, spec: servingSpec }], now), undefined);
  });
});

describe('inspectPairs()', () => {
  it('tells a link, a dangling link, a bad file, and a plain file apart', async (context) => {
    const directory = await temporaryDirectory(context);
    const names = ['whole', 'dangling', 'torn', 'plain', 'missing'];
    const config = {
      ...agentConfig(directory),
      certificates: names.map((name) => ({ ...spec, name })),
    };
    const at = (file: string): string => join(config.certificateDirectory, file);
    await mkdir(config.certificateDirectory);
    const { pem } = await makePair();
    await writeFile(at('pair.pem'), pem, { mode: 0o640 });
    await symlink('pair.pem', at('whole-current.pem'));
    await symlink('/nowhere.pem', at('dangling-current.pem'));
    await writeFile(at('torn.pem'), pem.subarray(0, 300), { mode: 0o600 });
    await symlink(at('torn.pem'), at('torn-current.pem'));
    await writeFile(at('plain-current.pem'), pem, { mode: 0o600 });
    const states = await inspectPairs(config);
    assert.deepEqual(
      states.map(({ spec, kind, mode, target }) => [spec.name, kind, mode, target]),
      [
        ['whole', 'link', 0o640, 'pair.pem'],
        ['dangling', 'link', undefined, '/nowhere.pem'],
        ['torn', 'link', 0o600, at('torn.pem')],
        ['plain', 'file', 0o600, undefined],
        ['missing', 'missing', undefined, undefined],
      ],
    );
    assert.equal(states[0]?.pair?.notAfter, present + 30 * day);
    assert.equal(states[2]?.failure?.code, 'PAIR_MALFORMED');
    assert.equal(states[1]?.failure, undefined);
  });
});

/** The findings for a certificate of one day after this share of its lifetime. */
function findingsOf(lived: number, observed: readonly string[]): string[] {
  const notBefore = now - lived * day;
  const old = { ...pair, notBefore, storedAt: notBefore, notAfter: notBefore + day };
  const context = { nodeName: 'worker-1', observed: new Set(observed), now };
  return summaryOf(pairFindings([{ ...healthy, pair: old }], context));
}
