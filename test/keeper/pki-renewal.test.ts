import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { describe, it } from 'node:test';
import type { PkiConfig } from '../../src/core/config.ts';
import { renewUnattended } from '../../src/keeper/pki-renewal.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { OwnProgram } from './own-program.ts';
import { pkiConfig, prints, renewalDocument, renewedDocument } from './pki-documents.ts';

async function renewWith(context: TestContext, script: string, config: PkiConfig = pkiConfig) {
  const program = await OwnProgram.create(context, script);
  const { signal } = new AbortController();
  const options = { program: [program.path], env: {}, config, clock: systemClock, signal };
  return { renewal: await renewUnattended(options), calls: program.calls };
}

describe('renewUnattended()', () => {
  it('returns the document with its times as instants', async (context) => {
    const { renewal } = await renewWith(context, prints(renewedDocument));
    assert.equal(renewal.kind, 'complete');
    const { result } = renewal;
    assert.equal(result.outcome, 'renewed');
    assert.equal(result.lastRenewals[0]?.notAfter, Date.UTC(2027, 0, 1));
    assert.equal(result.lastSuccess, Date.UTC(2026, 0, 1));
    assert.deepEqual(result.nextDue, { name: 'apiserver', time: Date.UTC(2026, 8, 1, 2) });
  });

  for (const outcome of ['not-due', 'waiting', 'refused', 'failed'] as const) {
    it(`returns the document of the outcome ${outcome}`, async (context) => {
      const document = renewalDocument({ outcome, reason: 'r', code: 'INTERNAL', remedy: 'Do' });
      const { renewal } = await renewWith(context, prints(document));
      assert.equal(renewal.kind === 'complete' && renewal.result.outcome, outcome);
    });
  }

  it('passes the configuration on', async (context) => {
    const script = prints(renewalDocument());
    const usual = await renewWith(context, script);
    const expected = 'certs renew --unattended --output json --kubernetes-dir /etc/kubernetes';
    assert.deepEqual(usual.calls, [`${expected} --rotation 70%-90%`]);
    const other = await renewWith(context, script, {
      ...pkiConfig,
      rotationWindow: { from: 0.29, to: 0.66667 },
      maintenanceWindow: 'Sat,Sun 23:00-01:00',
    });
    assert.deepEqual(other.calls, [
      `${expected} --rotation 29%-66.667% --window Sat,Sun 23:00-01:00`,
    ]);
  });

  const document = renewalDocument();
  const failures = [
    ['echo "error: --window: bad" >&2; exit 2', 'failed with exit code 2: error: --window: bad'],
    ['echo "error: no memory" >&2; exit 1', 'failed with exit code 1: error: no memory'],
    ['kill -9 $$', 'was killed by SIGKILL'],
    ['echo "no JSON"', 'printed an unexpected document'],
    [`echo '${JSON.stringify({ ...document, kind: 'Other' })}'`, 'printed an unexpected document'],
    [
      `echo '${JSON.stringify({ ...document, lastSuccess: 'soon' })}'`,
      'printed an unexpected document',
    ],
    ['head -c 1100000 /dev/zero', 'printed more than 1 MB'],
  ] as const;
  for (const [script, reason] of failures) {
    it(`fails on: ${script.slice(0, 50)}`, async (context) => {
      const { renewal } = await renewWith(context, script);
      assert.deepEqual(renewal, { kind: 'failed', reason });
    });
  }
});
