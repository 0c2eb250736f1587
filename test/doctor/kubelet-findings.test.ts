import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { CertificateSpec } from '../../src/core/certificate-spec.ts';
import { kubeletFindings, unreadKubeletFindings } from '../../src/doctor/kubelet-findings.ts';
import type { KubeletFacts } from '../../src/kubelet/configuration.ts';
import { servingSpec } from '../core/fixtures.ts';
import { summaryOf, textOf } from './findings.ts';

const clientSpec: CertificateSpec = {
  ...servingSpec,
  name: 'kubelet-client',
  profile: 'kubelet-client',
};
const file = '/var/lib/kubelet/config.yaml';
const link = '/pki/kubelet-server-current.pem';
const ours = {
  tlsCertFile: { value: link, file },
  tlsPrivateKeyFile: { value: link, file },
};
const on = { value: true, file: '/etc/kubelet.d/10.conf' };
const off = { value: false, file };

describe('kubeletFindings()', () => {
  const both = [clientSpec, servingSpec];
  const rows: readonly (readonly [
    string,
    Partial<KubeletFacts>,
    readonly CertificateSpec[],
    readonly string[],
  ])[] = [
    ['a missing file', { found: false }, both, ['info kubelet-config']],
    [
      'a kubelet that rotates nothing',
      { ...ours, rotateCertificates: off },
      both,
      ['ok kubelet-config'],
    ],
    ['rotateCertificates', { ...ours, rotateCertificates: on }, both, ['warning second-rotator']],
    [
      'a client certificate that is not managed',
      { rotateCertificates: on },
      [],
      ['ok kubelet-config'],
    ],
    ['serverTLSBootstrap', { serverTLSBootstrap: on }, both, ['warning second-rotator']],
    [
      'a serving certificate that is not managed',
      { serverTLSBootstrap: on },
      [clientSpec],
      ['ok kubelet-config'],
    ],
    [
      'both keys at once',
      { rotateCertificates: on, serverTLSBootstrap: on },
      both,
      ['warning second-rotator', 'warning second-rotator'],
    ],
    ['a self-signed certificate', {}, both, ['warning kubelet-serves-other-pair']],
    [
      'another certificate',
      { ...ours, tlsCertFile: { value: '/x.crt', file } },
      both,
      ['warning kubelet-serves-other-pair'],
    ],
  ];
  for (const [name, changes, certificates, expected] of rows) {
    it(`finds ${expected.join(' and ')} for ${name}`, () => {
      const facts = { file, found: true, ...changes };
      assert.deepEqual(
        summaryOf(
          kubeletFindings(facts, { certificates, observed: new Set(), linkOf: () => link }),
        ),
        expected,
      );
    });
  }

  it('warns only about certificates that the agent rotates', () => {
    const facts = { file, found: true, rotateCertificates: on, serverTLSBootstrap: on };
    const observed = new Set([clientSpec.name]);
    const found = kubeletFindings(facts, { certificates: both, observed, linkOf: () => link });
    assert.deepEqual(summaryOf(found), ['info kubelet-rotates', 'warning second-rotator']);
    assert.match(textOf(found.slice(0, 1)), /only observes it: rotateCertificates is true in/);
  });

  it('names the file whose value applies', () => {
    const facts = { file, found: true, rotateCertificates: on, ...ours };
    const found = textOf(
      kubeletFindings(facts, { certificates: both, observed: new Set(), linkOf: () => link }),
    );
    assert.match(found, /rotateCertificates is true in \/etc\/kubelet\.d\/10\.conf/);
    assert.match(
      found,
      /^Show .*: nodecertd adopt; make them with: nodecertd adopt --yes --restart$/m,
    );
  });
});

describe('unreadKubeletFindings()', () => {
  it('tells an invalid configuration from an unreadable one', () => {
    const remedy = 'correct it';
    const broken = { code: 'CONFIG_INVALID', message: 'broken', remedy } as const;
    assert.deepEqual(summaryOf(unreadKubeletFindings(broken)), ['warning kubelet-config-invalid']);
    const denied = { code: 'STORE_PERMISSIONS', message: 'denied', remedy } as const;
    assert.deepEqual(summaryOf(unreadKubeletFindings(denied)), ['warning not-checked']);
  });
});
