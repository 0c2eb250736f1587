import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { SourceReading } from '../../../src/trust/node/source.ts';
import type { WantedTrust } from '../../../src/trust/node/wanted.ts';
import { ambiguityFindings, wantedTrust } from '../../../src/trust/node/wanted.ts';
import { makeTestAuthority, renewed } from './authority.ts';

const old = makeTestAuthority();
const next = makeTestAuthority({ subject: '/CN=kubernetes-2' });

const names = {
  file: '/etc/nodecertd/ca.crt',
  'cluster-trust-bundle': 'root',
  'cluster-info': 'kube-public/cluster-info',
} as const;
type Kind = keyof typeof names;

function read(kind: Kind, ...cas: readonly { readonly pem: string }[]): SourceReading {
  const pem = Buffer.from(cas.map((ca) => ca.pem).join(''));
  return { kind, name: names[kind], outcome: 'read', pem };
}

function absent(kind: Kind): SourceReading {
  return { kind, name: names[kind], outcome: 'absent', reason: 'there is none' };
}

function failed(kind: Kind): SourceReading {
  const failure = { code: 'API_TIMEOUT', message: 'no response' } as const;
  return { kind, name: names[kind], outcome: 'failed', failure };
}

function wanted(...readings: readonly SourceReading[]): WantedTrust {
  return wantedTrust(readings, { held: [old.authority], pins: [], now: Date.now() });
}

function ids({ findings }: WantedTrust): string[] {
  return findings.map(({ id }) => id);
}

describe('wantedTrust()', () => {
  it('has no finding if the sources agree, in any order', () => {
    const found = wanted(read('file', old, next), read('cluster-info', next, old));
    assert.deepEqual(found.authorities, [old.authority, next.authority]);
    assert.deepEqual(found.findings, []);
  });

  it('wants the union of sources that differ, and says what each one lacks', () => {
    const found = wanted(read('cluster-trust-bundle', next), read('cluster-info', old));
    assert.deepEqual(found.authorities, [next.authority, old.authority]);
    assert.deepEqual(ids(found), ['sources_differ']);
    const [finding] = found.findings;
    assert.match(
      finding?.message ?? '',
      /ClusterTrustBundle root lacks CN=kubernetes \(.*\); ConfigMap kube-public\/cluster-info lacks CN=kubernetes-2 \(/,
    );
  });

  it('counts two certificates of one key as one CA', () => {
    const later = renewed(old);
    const found = wanted(read('file', later), read('cluster-info', old));
    assert.deepEqual(found.authorities, [later.authority]);
    assert.deepEqual(found.findings, []);
  });

  it('wants nothing if the first source is refused', () => {
    const cut = { pem: next.pem.slice(0, 300) };
    const found = wanted(read('file', old, cut), read('cluster-info', old, next));
    assert.equal(found.authorities, undefined);
    assert.equal(found.refusal?.reason, 'malformed');
  });

  it('does without another source that is refused', () => {
    const found = wanted(read('file', old, next), read('cluster-info', { pem: 'garbage' }));
    assert.deepEqual(found.authorities, [old.authority, next.authority]);
    assert.deepEqual(ids(found), ['source_refused']);
  });

  it('continues with the next source if one is absent or fails', () => {
    const readings = [failed('file'), absent('cluster-trust-bundle'), read('cluster-info', next)];
    const found = wanted(...readings);
    assert.deepEqual(found.authorities, [next.authority]);
    assert.deepEqual(
      found.sources.map(({ outcome }) => outcome),
      ['failed', 'absent', 'read'],
    );
    assert.deepEqual(found.sources[2]?.authorities, [next.authority.fingerprint]);
  });

  it('names the failure, or why each source is absent, if there is no source', () => {
    assert.equal(wanted(absent('file'), failed('cluster-info')).failure?.code, 'API_TIMEOUT');
    const { failure } = wanted(absent('file'), absent('cluster-info'));
    assert.match(failure?.message ?? '', /ca\.crt: there is none; ConfigMap .*: there is none$/);
  });
});

describe('ambiguityFindings()', () => {
  it('names two CAs that OpenSSL cannot tell apart', () => {
    const extensions = ['basicConstraints=CA:TRUE', 'subjectKeyIdentifier=none'];
    const namesake = makeTestAuthority({ extensions });
    assert.deepEqual(ambiguityFindings([old.authority, next.authority]), []);
    const [finding] = ambiguityFindings([old.authority, namesake.authority]);
    assert.equal(finding?.id, 'ca_ambiguous');
    assert.ok(finding.message.includes(namesake.authority.fingerprint.slice(0, 16)));
  });
});
