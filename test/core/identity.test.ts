import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { kubeletUsages, nodeSubject } from '../../src/core/certificate-spec.ts';
import type { CertificateSpec, CertificateTemplate } from '../../src/core/certificate-spec.ts';
import type { CertificateFacts } from '../../src/core/certificate.ts';
import type { NodeAddress } from '../../src/core/enroller-protocol.ts';
import {
  altNamesOfNode,
  issuedVerdict,
  mismatchOf,
  sameTemplate,
  templateOf,
} from '../../src/core/identity.ts';
import { hour } from '../../src/core/instant.ts';
import { canonicalIp } from '../../src/core/ip-address.ts';
import { skewLeeway } from '../../src/core/schedule.ts';
import { clientTemplate, factsFor, servingSpec, servingTemplate, start } from './fixtures.ts';

const addresses = (...pairs: readonly (readonly [string, string])[]): NodeAddress[] =>
  pairs.map(([type, address]) => ({ type, address }));
const names = (dnsNames: string[], ipAddresses: string[]) => ({ dnsNames, ipAddresses });

describe('nodeSubject()', () => {
  it('has the form that the node authorizer expects', () => {
    assert.deepEqual(nodeSubject('worker-1'), {
      commonName: 'system:node:worker-1',
      organizations: ['system:nodes'],
    });
  });
});

describe('kubeletUsages()', () => {
  it('adds key encipherment for RSA only', () => {
    assert.deepEqual(kubeletUsages('client auth', 'ecdsa-p256'), [
      'digital signature',
      'client auth',
    ]);
    assert.deepEqual(kubeletUsages('server auth', 'ed25519'), ['digital signature', 'server auth']);
    for (const key of ['rsa-2048', 'rsa-3072', 'rsa-4096'] as const) {
      const expected = ['digital signature', 'key encipherment', 'server auth'];
      assert.deepEqual(kubeletUsages('server auth', key), expected);
    }
  });
});

describe('altNamesOfNode()', () => {
  const cases: readonly (readonly [string, NodeAddress[], ReturnType<typeof names>])[] = [
    ['a Hostname is a DNS name', addresses(['Hostname', 'worker-1']), names(['worker-1'], [])],
    [
      'a Hostname that is an IP is an IP',
      addresses(['Hostname', '10.0.0.1']),
      names([], ['10.0.0.1']),
    ],
    [
      'internal and external IPs',
      addresses(['InternalIP', '10.0.0.1'], ['ExternalIP', '192.0.2.1']),
      names([], ['10.0.0.1', '192.0.2.1']),
    ],
    [
      'internal and external DNS names',
      addresses(['InternalDNS', 'b.internal'], ['ExternalDNS', 'a.example']),
      names(['a.example', 'b.internal'], []),
    ],
    [
      'no duplicates',
      addresses(
        ['Hostname', 'w'],
        ['InternalDNS', 'w'],
        ['InternalIP', '10.0.0.1'],
        ['ExternalIP', '10.0.0.1'],
      ),
      names(['w'], ['10.0.0.1']),
    ],
    [
      'no duplicates in different spellings',
      addresses(
        ['InternalIP', 'FD00:0::1'],
        ['ExternalIP', 'fd00::1'],
        ['Hostname', 'W'],
        ['InternalDNS', 'w'],
      ),
      names(['w'], ['fd00::1']),
    ],
    [
      'sorted',
      addresses(
        ['InternalIP', '10.0.0.9'],
        ['InternalIP', '10.0.0.1'],
        ['InternalDNS', 'b'],
        ['Hostname', 'a'],
      ),
      names(['a', 'b'], ['10.0.0.1', '10.0.0.9']),
    ],
    ['an invalid InternalIP is left out', addresses(['InternalIP', 'worker-1']), names([], [])],
    [
      'an InternalDNS that looks like an IP stays a DNS name, as in the kubelet',
      addresses(['InternalDNS', '10.0.0.1']),
      names(['10.0.0.1'], []),
    ],
    [
      'unknown types are ignored',
      addresses(['LegacyHostIP', '10.0.0.1'], ['', 'x']),
      names([], []),
    ],
    [
      'empty addresses are ignored',
      addresses(['Hostname', ''], ['InternalIP', ''], ['InternalDNS', '']),
      names([], []),
    ],
    ['no addresses', [], names([], [])],
  ];
  for (const [name, given, expected] of cases) {
    it(name, () => assert.deepEqual(altNamesOfNode(given), expected));
  }

  it('does not depend on the order of the addresses', () => {
    const type = fc.constantFrom(
      'Hostname',
      'InternalIP',
      'ExternalIP',
      'InternalDNS',
      'ExternalDNS',
      'X',
    );
    const address = fc.oneof(fc.ipV4(), fc.ipV6(), fc.domain());
    const list = fc.array(fc.record({ type, address }), { maxLength: 8 });
    fc.assert(
      fc.property(list, (list) => {
        const found = altNamesOfNode(list);
        assert.deepEqual(altNamesOfNode(list.toReversed()), found);
        for (const all of [found.dnsNames, found.ipAddresses]) {
          assert.deepEqual([...new Set(all)].sort(), all);
        }
        assert.ok(found.ipAddresses.every((ip) => canonicalIp(ip) === ip));
      }),
    );
  });
});

describe('templateOf()', () => {
  const found = names(['worker-1'], ['10.0.0.1']);
  const listed: CertificateSpec = { ...servingSpec, static: names(['alias'], ['192.0.2.7']) };

  it('is undefined before the first lookup, even with a configured IP address', () => {
    assert.equal(templateOf(servingSpec, undefined), undefined);
    assert.equal(templateOf(listed, undefined), undefined);
  });

  it('is undefined without an IP address', () => {
    assert.equal(templateOf(servingSpec, names(['worker-1'], [])), undefined);
  });

  it('contains the spec and the addresses of the node', () => {
    assert.deepEqual(templateOf(servingSpec, found), servingTemplate);
  });

  it('merges configured and found names, sorted and without duplicates', () => {
    const template = templateOf(listed, names(['worker-1', 'alias'], ['10.0.0.1']));
    assert.deepEqual(template?.dnsNames, ['alias', 'worker-1']);
    assert.deepEqual(template?.ipAddresses, ['10.0.0.1', '192.0.2.7']);
  });

  it('needs no address for static SANs', () => {
    const template = templateOf({ ...servingSpec, addresses: 'static' }, undefined);
    assert.deepEqual(template?.ipAddresses, []);
  });

  it('contains the lifetime only if one is configured', () => {
    const template = templateOf({ ...servingSpec, expirationSeconds: 600 }, found);
    assert.equal(template?.expirationSeconds, 600);
    assert.equal('expirationSeconds' in (templateOf(servingSpec, found) ?? {}), false);
  });
});

describe('sameTemplate()', () => {
  it('ignores the order of organizations and usages', () => {
    const subject = { commonName: 'a', organizations: ['x', 'y'] };
    const a: CertificateTemplate = { ...servingTemplate, subject };
    const usages = [...servingTemplate.usages].toReversed();
    const b = { ...a, usages, subject: { ...subject, organizations: ['y', 'x'] } };
    assert.equal(sameTemplate(a, b), true);
  });

  const changes: readonly (readonly [string, Partial<CertificateTemplate>])[] = [
    ['signer', { signerName: 'example.com/x' }],
    ['common name', { subject: nodeSubject('worker-10') }],
    ['organizations', { subject: { ...servingTemplate.subject, organizations: [] } }],
    ['usages', { usages: ['digital signature'] }],
    ['key', { key: 'ed25519' }],
    ['lifetime', { expirationSeconds: 600 }],
    ['DNS names', { dnsNames: [] }],
    ['IP addresses', { ipAddresses: ['10.0.0.1', 'fd00::1'] }],
  ];
  for (const [what, change] of changes) {
    it(`detects another ${what}`, () => {
      assert.equal(sameTemplate(servingTemplate, { ...servingTemplate, ...change }), false);
    });
  }
});

describe('mismatchOf()', () => {
  const cases: readonly (readonly [string, Partial<CertificateFacts>, string | undefined])[] = [
    ['the requested names', {}, undefined],
    [
      'more names than needed',
      { dnsNames: ['a', 'worker-1'], ipAddresses: ['10.0.0.1', '::1'] },
      undefined,
    ],
    [
      'more organizations than needed',
      { subject: { ...servingTemplate.subject, organizations: ['x', 'system:nodes'] } },
      undefined,
    ],
    ['another name', { subject: nodeSubject('worker-2') }, 'common-name-differs'],
    [
      'a name with the same beginning',
      { subject: nodeSubject('worker-10') },
      'common-name-differs',
    ],
    [
      'an organization missing',
      { subject: { ...servingTemplate.subject, organizations: ['x'] } },
      'organization-missing',
    ],
    ['a DNS name missing', { dnsNames: ['worker-2'] }, 'dns-name-missing'],
    ['an IP address missing', { ipAddresses: [] }, 'ip-address-missing'],
    ['its own signature', { selfSigned: true }, 'self-signed'],
  ];
  for (const [name, facts, expected] of cases) {
    it(`is ${expected ?? 'nothing'} for a pair with ${name}`, () => {
      assert.equal(mismatchOf(servingTemplate, factsFor(servingTemplate, facts)), expected);
    });
  }
});

describe('issuedVerdict()', () => {
  const custom: CertificateTemplate = { ...servingTemplate, signerName: 'example.com/serving' };
  const more = { ...servingTemplate.subject, organizations: ['system:nodes', 'system:masters'] };
  const none = { ...servingTemplate.subject, organizations: [] };

  /** The verdict of the kubelet's signers, which copy the request, and of others, which may add to it. */
  const cases: readonly (readonly [string, Partial<CertificateFacts>, string, string])[] = [
    ['exactly the request', {}, 'ok', 'ok'],
    ['the usages in another order', { usages: ['server auth', 'digital signature'] }, 'ok', 'ok'],
    [
      'another name',
      { subject: nodeSubject('worker-10') },
      'CERT_SUBJECT_MISMATCH',
      'CERT_SUBJECT_MISMATCH',
    ],
    [
      'one organization too few',
      { subject: none },
      'CERT_SUBJECT_MISMATCH',
      'CERT_SUBJECT_MISMATCH',
    ],
    ['one organization too many', { subject: more }, 'CERT_SUBJECT_MISMATCH', 'ok'],
    ['one DNS name too few', { dnsNames: [] }, 'CERT_SAN_MISMATCH', 'CERT_SAN_MISMATCH'],
    ['one DNS name too many', { dnsNames: ['evil', 'worker-1'] }, 'CERT_SAN_MISMATCH', 'ok'],
    ['one IP address too few', { ipAddresses: [] }, 'CERT_SAN_MISMATCH', 'CERT_SAN_MISMATCH'],
    [
      'one IP address too many',
      { ipAddresses: ['10.0.0.1', '10.0.0.2'] },
      'CERT_SAN_MISMATCH',
      'ok',
    ],
    ['a URI that was not requested', { otherNames: ['url:spiffe://x'] }, 'CERT_SAN_MISMATCH', 'ok'],
    [
      'a usage less',
      { usages: ['digital signature'] },
      'CERT_USAGE_MISMATCH',
      'CERT_USAGE_MISMATCH',
    ],
    [
      'a usage more',
      { usages: ['digital signature', 'server auth', 'client auth'] },
      'CERT_USAGE_MISMATCH',
      'ok',
    ],
    ['an expiry in the past', { notAfter: start - 1 }, 'CERT_EXPIRED', 'CERT_EXPIRED'],
    ['an expiry at this moment', { notAfter: start }, 'CERT_EXPIRED', 'CERT_EXPIRED'],
    ['a start within the leeway', { notBefore: start + skewLeeway }, 'ok', 'ok'],
    [
      'a start beyond the leeway',
      { notBefore: start + skewLeeway + 1 },
      'CERT_NOT_YET_VALID',
      'CERT_NOT_YET_VALID',
    ],
  ];
  for (const [name, facts, exact, lenient] of cases) {
    it(`is ${exact} for the kubelet's serving signer and ${lenient} for another one, given ${name}`, () => {
      assert.equal(verdict(servingTemplate, facts), exact);
      assert.equal(verdict(custom, facts), lenient);
    });
  }

  it('is as strict for client certificates of kubelets', () => {
    assert.equal(verdict(clientTemplate, {}), 'ok');
    assert.equal(verdict(clientTemplate, { dnsNames: ['worker-1'] }), 'CERT_SAN_MISMATCH');
    assert.equal(verdict(clientTemplate, { usages: ['client auth'] }), 'CERT_USAGE_MISMATCH');
  });

  it('names the values of the certificate and of the request', () => {
    const found = issuedVerdict(
      servingTemplate,
      factsFor(servingTemplate, { dnsNames: ['evil'] }),
      start,
    );
    assert.ok(!found.ok);
    assert.match(
      found.message,
      /SANs \["evil","10\.0\.0\.1"\], but the request has \["worker-1","10\.0\.0\.1"\]/,
    );
  });

  it('names both times if the certificate is not valid yet', () => {
    const found = issuedVerdict(
      servingTemplate,
      factsFor(servingTemplate, { notBefore: start + hour }),
      start,
    );
    assert.ok(!found.ok);
    assert.match(
      found.message,
      /valid from 2026-01-01T01:00:00Z; the clock of this node shows 2026-01-01T00:00:00Z/,
    );
  });
});

/** `ok`, or the code of the rejection. */
function verdict(template: CertificateTemplate, facts: Partial<CertificateFacts>): string {
  const found = issuedVerdict(template, factsFor(template, facts), start);
  if (found.ok) return 'ok';
  assert.ok(found.message.startsWith('the issued certificate '));
  return found.code;
}
