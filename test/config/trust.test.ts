import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { TestContext } from 'node:test';
import type { TrustConfig } from '../../src/core/config.ts';
import { describeError } from '../../src/core/errors.ts';
import { trustDefaults } from '../support/trust-defaults.ts';
import { loadText } from './load-text.ts';

const digits = '0123456789abcdef'.repeat(4);

async function load(context: TestContext, text: string): Promise<TrustConfig | undefined> {
  return (await loadText(context, text)).trust;
}

describe('loadConfig() on trust', () => {
  it('is disabled by default', async (context) => {
    assert.equal(await load(context, ''), undefined);
    assert.equal(await load(context, 'trust: { file: /srv/ca.pem }'), undefined);
  });

  it('restarts the kubelet and drops no CA by default', async (context) => {
    assert.deepEqual(await load(context, 'trust: { enabled: true }'), trustDefaults);
  });

  it('reads every key', async (context) => {
    const text = `
trust:
  enabled: true
  file: /srv/ca.pem
  caCertHashes: ["sha256:${digits.toUpperCase()}"]
  kubeconfigs: [/srv/proxy.conf]
  files: [/srv/other-ca.pem]
  externalize: true
  kubelet: hook
  spread: 0s
  issuer: "${digits.toUpperCase()}"
  reissueSpread: 2h
  holdServing: true
  drop: auto
  dropAfter: 48h
  onTrustChange:
    - systemctl: restart
      unit: kubelet.service`;
    const unit = 'kubelet.service';
    assert.deepEqual(await load(context, text), {
      file: '/srv/ca.pem',
      pins: [`sha256:${digits}`],
      kubeconfigs: ['/srv/proxy.conf'],
      files: ['/srv/other-ca.pem'],
      externalize: true,
      kubelet: 'hook',
      spreadSeconds: 0,
      issuer: digits,
      reissueSpreadSeconds: 7_200,
      holdServing: true,
      drop: 'auto',
      dropAfterSeconds: 172_800,
      hooks: [{ kind: 'systemctl', verb: 'restart', unit, timeoutMs: 30_000, retries: 2 }],
    });
  });

  const rejected = [
    [
      'trust: { enable: true }',
      'config.yaml:3: trust.enable: unknown key; did you mean "enabled"?',
    ],
    [
      'trust:\n  caCertHashes: [sha256:12]',
      'config.yaml:4: trust.caCertHashes[0]: expected sha256: and 64 hexadecimal digits',
    ],
    ['trust: { issuer: kubernetes }', 'trust.issuer: expected the SHA-256 fingerprint of a CA'],
    ['trust: { kubelet: reload }', 'trust.kubelet: expected one of restart, hook, none'],
    [
      'trust:\n  kubelet: hook',
      'config.yaml:3: trust.onTrustChange: is required with kubelet: hook',
    ],
    ['trust: { dropAfter: 1m }', 'trust.dropAfter: expected at least 10m, found "1m"'],
    [
      'trust:\n  onTrustChange: [{}]',
      'config.yaml:4: trust.onTrustChange[0]: a hook needs one of command, systemctl',
    ],
  ] as const;
  for (const [text, problem] of rejected) {
    it(`rejects ${JSON.stringify(text)}`, async (context) => {
      await assert.rejects(load(context, text), (error) => {
        const message = describeError(error);
        assert.ok(message.includes(problem), message);
        return true;
      });
    });
  }
});
