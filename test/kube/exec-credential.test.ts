import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { inspect } from 'node:util';
import fc from 'fast-check';
import { stringify } from 'yaml';
import type { ClusterEndpoint, ExecPlugin } from '../../src/kube/cluster-access.ts';
import { execInfo, parseExecCredential } from '../../src/kube/exec-credential.ts';
import { makeAuthority } from './support/certificates.ts';
import { execCredential, v1 } from './support/plugin-node.ts';

const authority = await makeAuthority('plugin-ca');
const pair = await authority.issue({ commonName: 'node', usages: ['client auth'] });
const clientCertificateData = pair.cert;
const clientKeyData = pair.key;

function text(bytes: Uint8Array | undefined): string {
  return new TextDecoder().decode(bytes);
}

describe('execInfo()', () => {
  const plugin: ExecPlugin = {
    apiVersion: v1,
    name: 'aws',
    command: 'aws',
    args: [],
    environment: () => ({}),
    provideClusterInfo: false,
  };
  const cluster: ClusterEndpoint = {
    server: 'https://10.0.0.1:6443',
    insecureSkipTlsVerify: false,
  };

  it('omits the cluster, and reports that there is no terminal', () => {
    assert.deepEqual(JSON.parse(execInfo(plugin, cluster)), {
      kind: 'ExecCredential',
      apiVersion: v1,
      spec: { interactive: false },
    });
  });

  it('describes the cluster with provideClusterInfo', () => {
    const wanted = { ...plugin, provideClusterInfo: true, clusterConfig: { audience: 'nodes' } };
    const full: ClusterEndpoint = {
      ...cluster,
      tlsServerName: 'api.example.com',
      proxyUrl: 'http://proxy:3128',
      certificateAuthority: { pem: new TextEncoder().encode('PEM') },
    };
    const { spec } = JSON.parse(execInfo(wanted, full)) as { spec: unknown };
    assert.deepEqual(spec, {
      cluster: {
        server: 'https://10.0.0.1:6443',
        'tls-server-name': 'api.example.com',
        'certificate-authority-data': btoa('PEM'),
        'proxy-url': 'http://proxy:3128',
        config: { audience: 'nodes' },
      },
      interactive: false,
    });
  });

  it('reports insecure-skip-tls-verify and a missing configuration', () => {
    const insecure = { ...cluster, insecureSkipTlsVerify: true };
    const info = JSON.parse(execInfo({ ...plugin, provideClusterInfo: true }, insecure)) as {
      spec: { cluster: unknown };
    };
    assert.deepEqual(info.spec.cluster, {
      server: 'https://10.0.0.1:6443',
      'insecure-skip-tls-verify': true,
      config: null,
    });
  });
});

describe('parseExecCredential()', () => {
  it('reads token, certificate and expiry, and hides and wipes the secrets', () => {
    const expirationTimestamp = '2026-01-01T00:00:00Z';
    const status = { token: 'hidden', clientCertificateData, clientKeyData, expirationTimestamp };
    const result = parseExecCredential(execCredential(status), v1);
    assert.ok(result.kind === 'credential');
    const { credential } = result;
    assert.equal(text(credential.token?.expose()), 'hidden');
    assert.equal(text(credential.clientCertificate?.pem), pair.cert);
    assert.equal(text(credential.clientCertificate?.key.expose()), pair.key);
    assert.equal(credential.expiry, Date.UTC(2026, 0, 1));
    assert.doesNotMatch(inspect(result, { depth: 9 }) + JSON.stringify(result), /hidden|PRIVATE/);
    credential[Symbol.dispose]();
    assert.ok(credential.token?.expose().every((byte) => byte === 0));
    assert.ok(credential.clientCertificate?.key.expose().every((byte) => byte === 0));
  });

  it('reads YAML', () => {
    const yaml = stringify(JSON.parse(execCredential({ token: 'abc' })));
    const result = parseExecCredential(yaml, v1);
    assert.ok(result.kind === 'credential');
    assert.equal(text(result.credential.token?.expose()), 'abc');
    assert.equal(result.credential.expiry, undefined);
  });

  it('reports an ExecCredential of another version', () => {
    const beta = 'client.authentication.k8s.io/v1beta1';
    assert.deepEqual(parseExecCredential(execCredential({ token: 'abc' }, beta), v1), {
      kind: 'other-version',
      found: beta,
    });
  });

  const malformed: readonly (readonly [string, string, string])[] = [
    ['empty output', '', 'the output is neither JSON nor YAML'],
    ['malformed YAML', '{"a": Secret', 'the output is neither JSON nor YAML'],
    ['a plain token', 'Secret', 'the document must be Object'],
    ['another kind', '{"kind": "Secret", "apiVersion": "v1"}', 'kind must be "ExecCredential"'],
    ['no version', '{"kind": "ExecCredential"}', 'apiVersion is missing'],
    ['no status', `{"kind": "ExecCredential", "apiVersion": "${v1}"}`, 'status is missing'],
    [
      'an empty status',
      execCredential({ token: '' }),
      'the output has neither a token nor a certificate',
    ],
    ['a token that is a number', execCredential({ token: 7 }), 'status.token must be string'],
    [
      'a token with a line break',
      execCredential({ token: 'Secret\nX' }),
      'status.token must be printable ASCII without spaces',
    ],
    [
      'a certificate without a key',
      execCredential({ clientCertificateData }),
      'the output has clientCertificateData but no clientKeyData',
    ],
    [
      'a key without a certificate',
      execCredential({ clientKeyData }),
      'the output has clientKeyData but no clientCertificateData',
    ],
    [
      'a certificate that is not PEM',
      execCredential({ clientCertificateData: 'Secret', clientKeyData }),
      'clientCertificateData is not a certificate in PEM',
    ],
    [
      'an invalid time',
      execCredential({ token: 'Secret', expirationTimestamp: 'tomorrow' }),
      'status.expirationTimestamp must be an RFC 3339 time',
    ],
  ];
  for (const [name, output, reason] of malformed) {
    it(`rejects ${name}, and does not repeat values`, () => {
      assert.deepEqual(parseExecCredential(output, v1), { kind: 'malformed', reason });
    });
  }

  it('turns any output into a result, and never repeats a token', () => {
    const token = 'Hidden';
    const valid = execCredential({ token, clientCertificateData, clientKeyData });
    const damaged = fc
      .tuple(fc.nat(valid.length), fc.nat(30), fc.string({ unit: 'grapheme' }))
      .map(([at, cut, added]) => valid.slice(0, at) + added + valid.slice(at + cut));
    const shaped = fc
      .dictionary(fc.constantFrom('token', 'clientKeyData', 'expirationTimestamp'), fc.jsonValue())
      .map((status) => execCredential({ ...status, clientCertificateData: token }));
    fc.assert(
      fc.property(fc.oneof(fc.string({ unit: 'binary' }), damaged, shaped), (output) => {
        const result = parseExecCredential(output, v1);
        if (result.kind !== 'credential') assert.doesNotMatch(JSON.stringify(result), /Hidden/);
      }),
      { numRuns: 300 },
    );
  });
});
