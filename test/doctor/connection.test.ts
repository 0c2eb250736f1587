import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { CaPin } from '../../src/core/ca-pin.ts';
import type { ErrorCode } from '../../src/core/errors.ts';
import { hour, minute, second } from '../../src/core/instant.ts';
import type { ConnectionFacts } from '../../src/doctor/connection.ts';
import {
  connectionFindings,
  openingFindings,
  trustLostFinding,
} from '../../src/doctor/connection.ts';
import { agentConfig } from '../keeper/fixtures.ts';
import { summaryOf, textOf } from './findings.ts';

const server = 'https://10.0.0.1:6443';
const self = { username: 'system:node:n1', groups: ['system:nodes'] };
const healthy: ConnectionFacts = {
  server,
  source: 'kubeconfig',
  identity: { kind: 'done', value: self },
  skewMs: 0,
};

function failed(code: ErrorCode): ConnectionFacts['identity'] {
  return { kind: 'failed', failure: { code, message: 'it failed', remedy: 'repair it' } };
}

const config = agentConfig('/node');
const failure = { code: 'API_UNTRUSTED', message: 'unknown CA', remedy: 'check it' } as const;

function remedyFor(pins: readonly CaPin[]): string {
  return trustLostFinding(failure, { config, server, pins }).remedy ?? '';
}

describe('trustLostFinding()', () => {
  it('adds the command with the server of the kubeconfig', () => {
    const finding = trustLostFinding(failure, { config, server, pins: [] });
    assert.deepEqual(summaryOf([finding]), ['error trust-lost']);
    const command =
      'nodecertd discover --endpoint 10.0.0.1:6443 --token-file FILE --ca-cert-hash sha256:HEX --output /node/bootstrap.conf';
    const { remedy = '' } = finding;
    assert.ok(remedy.startsWith('check it; if the CA of the cluster changed: '), remedy);
    assert.ok(remedy.endsWith(command), remedy);
  });

  it('has the pins of the old and of the new CA, or a place for the new one', () => {
    const [old, next] = [`sha256:${'a1'.repeat(32)}`, `sha256:${'b2'.repeat(32)}`] as const;
    assert.match(remedyFor([old]), new RegExp(` --ca-cert-hash ${old} sha256:HEX `));
    assert.match(remedyFor([old, next]), new RegExp(` --ca-cert-hash ${old} ${next} `));
  });

  it('repeats no command, but adds the pins to it', () => {
    const remedy = 'Run nodecertd discover --ca-cert-hash sha256:HEX';
    const pin = `sha256:${'a1'.repeat(32)}` as const;
    const options = { config, server, pins: [pin] };
    assert.equal(
      trustLostFinding({ ...failure, remedy }, options).remedy,
      `Run nodecertd discover --ca-cert-hash ${pin} sha256:HEX`,
    );
  });
});

describe('connectionFindings()', () => {
  const other = { username: 'system:node:n2', groups: ['system:nodes'] };
  const person = { username: 'jane', groups: [] };
  const bearer = { username: 'system:bootstrap:abcdef', groups: ['system:bootstrappers'] };
  const rows: readonly (readonly [string, Partial<ConnectionFacts>, readonly string[]])[] = [
    ['an API server that accepts the node', {}, ['ok api-server']],
    ['an old API server', { identity: { kind: 'done', value: 'unknown' } }, ['ok api-server']],
    [
      'a bootstrapper',
      { source: 'bootstrap', identity: { kind: 'done', value: bearer } },
      ['ok api-server'],
    ],
    ['an unreachable server', { identity: failed('API_UNREACHABLE') }, ['error api-unreachable']],
    [
      'a server that does not respond',
      { identity: failed('API_TIMEOUT') },
      ['error api-unreachable'],
    ],
    [
      'a cluster that the discovery cannot verify',
      { source: 'bootstrap', identity: failed('CLUSTER_UNTRUSTED') },
      ['error api-untrusted'],
    ],
    [
      'a token that the discovery rejects',
      { source: 'bootstrap', identity: failed('TOKEN_REJECTED') },
      ['error bootstrap-refused'],
    ],
    ['an untrusted server', { identity: failed('API_UNTRUSTED') }, ['error api-untrusted']],
    [
      'a refused certificate',
      { identity: failed('API_UNAUTHORIZED') },
      ['error api-identity-refused'],
    ],
    [
      'a refused token, which has its own finding',
      { source: 'bootstrap', identity: failed('API_UNAUTHORIZED') },
      [],
    ],
    [
      'a server that is not the API server',
      { identity: failed('API_BAD_RESPONSE') },
      ['error api-troubled'],
    ],
    [
      'a server that sees no credential',
      { identity: failed('API_ANONYMOUS') },
      ['error api-identity-refused'],
    ],
    ['a server error', { identity: failed('API_SERVER_ERROR') }, ['error api-troubled']],
    ['another node', { identity: { kind: 'done', value: other } }, ['error node-name-mismatch']],
    [
      'a person’s credential',
      { identity: { kind: 'done', value: person } },
      ['warning node-name-mismatch'],
    ],
    ['a clock a little off', { skewMs: -20 * second }, ['ok api-server']],
    ['a clock behind', { skewMs: -minute }, ['warning clock-skew']],
    ['a clock far behind', { skewMs: -6 * minute }, ['error clock-skew']],
    ['a clock far ahead', { skewMs: hour }, ['warning clock-skew']],
    [
      'a clock so far off that the token is refused',
      { identity: failed('API_UNAUTHORIZED'), skewMs: -hour },
      ['error api-identity-refused', 'error clock-skew'],
    ],
  ];
  it('names the CA that the API server does not trust anymore', () => {
    const facts = { ...healthy, identity: failed('API_UNAUTHORIZED') };
    const clientIssuer = { subject: 'CN=kubernetes', fingerprint: '01'.repeat(32) };
    const text = textOf(connectionFindings(facts, { nodeName: 'n1', clientIssuer }));
    assert.match(text, /does not trust CN=kubernetes \(0101010101010101\), or the certificate has/);
    assert.match(text, /add CN=kubernetes \(0101010101010101\) to the file of .* --client-ca-file/);
    const discover = 'Run this on the node: nodecertd discover';
    const own = { nodeName: 'n1', clientIssuer, discover };
    assert.ok(textOf(connectionFindings(facts, own)).includes(`another certificate: ${discover}`));
  });

  for (const [name, changes, expected] of rows) {
    it(`finds ${expected.join(' and ') || 'nothing'} for ${name}`, () => {
      assert.deepEqual(
        summaryOf(connectionFindings({ ...healthy, ...changes }, { nodeName: 'n1' })),
        expected,
      );
    });
  }

  it('shows the size and direction of the clock skew', () => {
    const behind = textOf(connectionFindings({ ...healthy, skewMs: -hour }, { nodeName: 'n1' }));
    assert.match(behind, /is 1h behind the clock of the API server/);
    const ahead = textOf(connectionFindings({ ...healthy, skewMs: hour }, { nodeName: 'n1' }));
    assert.match(ahead, /is 1h ahead of the clock of the API server/);
  });

  it('names the proxy on the way to the server', () => {
    const facts = { ...healthy, proxy: 'proxy:3128 (HTTPS_PROXY)' };
    assert.match(
      textOf(connectionFindings(facts, { nodeName: 'n1' })),
      /10\.0\.0\.1:6443 through proxy proxy:3128 \(HTTPS_PROXY\) accepts this node as/,
    );
  });
});

describe('openingFindings()', () => {
  const failure = { message: 'it failed', remedy: 'repair it' };

  it('finds that the server cannot be reached with a bad proxy variable', () => {
    assert.deepEqual(summaryOf(openingFindings({ ...failure, code: 'API_UNREACHABLE' })), [
      'error api-unreachable',
    ]);
  });

  it('finds an exec plugin that gives no credential', () => {
    const findings = openingFindings({ ...failure, code: 'PLUGIN_FAILED' });
    assert.deepEqual(summaryOf(findings), ['error plugin-failed']);
  });

  it('leaves a kubeconfig that cannot be used to the check of the file', () => {
    assert.deepEqual(openingFindings({ ...failure, code: 'KUBECONFIG_INVALID' }), []);
  });
});
