import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { PairFacts } from '../../src/core/certificate.ts';
import { day, hour } from '../../src/core/instant.ts';
import { statusPage } from '../../src/metrics/status-page.ts';
import { trustReport } from '../keeper/trust-documents.ts';
import { agent, client, facts, followed, now, pki, server } from './fixtures.ts';

function pageOf(changes: Partial<PairFacts>): string {
  const current = facts(changes);
  return statusPage(agent([client({ current, rotationDeadline: now - 20 * day })]));
}

describe('statusPage()', () => {
  it('shows how much of the lifetime has passed and the rotation deadline', () => {
    const page = statusPage(agent([client()]));
    assert.match(page, /<div class="past" style="width:25%"><\/div>/);
    assert.match(page, /<div class="mark" style="left:75%"><\/div>/);
    assert.match(page, /rotation in 20d ▾/);
    assert.match(page, /30d left/);
    assert.match(page, /1 of 1 usable/);
  });

  it('counts the lifetime from the time of issue, as the rotation does', () => {
    const page = pageOf({ notBefore: now - 30 * day, storedAt: now - 10 * day });
    assert.match(page, /<div class="past" style="width:25%"><\/div>/);
  });

  it('keeps bar and mark inside for an expired or future certificate', () => {
    const expired = pageOf({ notAfter: now - hour });
    assert.match(expired, /class="past all" style="width:100%"/);
    assert.match(expired, /expired 1h ago/);
    const future = pageOf({ notBefore: now + hour });
    assert.match(future, /class="past" style="width:0%"/);
    assert.match(future, /class="mark" style="left:0%"/);
  });

  const tones: readonly (readonly [string, Parameters<typeof client>[0], string])[] = [
    ['a usable certificate', {}, 'good'],
    ['an overdue rotation', { overdue: true }, 'warn'],
    ['a failing renewal', { attempts: 2 }, 'warn'],
    ['a certificate that is not served yet', followed, 'warn'],
    ['an unusable certificate', { usable: false }, 'bad'],
  ];
  for (const [title, changes, tone] of tones) {
    it(`marks ${title} as ${tone}`, () => {
      assert.ok(statusPage(agent([client(changes)])).includes(`<article class="${tone}">`));
    });
  }

  it('has a card for the control-plane certificates', () => {
    const fine = statusPage(agent([client()], { pki: pki() }));
    assert.match(fine, /<h2>\/etc\/kubernetes<\/h2>/);
    assert.match(fine, /<span class="state">not-due<\/span>/);
    assert.match(fine, /<dd>apiserver, <time /);
    assert.doesNotMatch(fine, /class="warn"/);
    const waitsFor = 'cp-2 holds the <Lease>';
    const waiting = statusPage(agent([client()], { pki: pki({ state: 'waiting', waitsFor }) }));
    assert.match(waiting, /<li>cp-2 holds the &lt;Lease&gt;<\/li>/);
    assert.doesNotMatch(waiting, /class="warn"/);
    const failure = { code: 'INTERNAL', message: 'no Lease', remedy: 'Try', at: now } as const;
    const failed = statusPage(agent([client()], { pki: pki({ failure }) }));
    assert.match(failed, /<article class="warn">/);
    assert.match(failed, /<li>no Lease<\/li>/);
    assert.match(failed, /<li>remedy: Try<\/li>/);
  });

  it('has a card for the trusted CAs', () => {
    const report = trustReport({ stage: 'union' });
    const trust = { state: 'in-sync', since: now, report, reissues: [] } as const;
    const fine = statusPage(agent([client()], { trustSync: trust }));
    assert.match(fine, /<h2>trusted CAs<\/h2>/);
    assert.match(fine, /<dd>CN=kubernetes \(0101010101010101\), until <time /);
    assert.match(fine, /<dd>union<\/dd>/);
    assert.match(fine, /<code>\/etc\/kubernetes\/kubelet.conf<\/code>/);
    assert.doesNotMatch(fine, /class="warn"/);
    const failure = { code: 'INTERNAL', message: 'no <space>', remedy: 'Free', at: now } as const;
    const failed = statusPage(agent([client()], { trustSync: { ...trust, failure } }));
    assert.match(failed, /<article class="warn">/);
    assert.match(failed, /<li>no &lt;space&gt; \(INTERNAL\)<\/li>/);
    assert.match(failed, /<li>remedy: Free<\/li>/);
  });

  it('shows failed hooks and endpoints with another certificate', () => {
    const page = statusPage(agent([client(followed)]));
    assert.match(page, /<li>hook reload nginx\.service failed with exit code 1<\/li>/);
    assert.match(page, /<li>\[::1\]:10250 serves no certificate: connect ECONNREFUSED<\/li>/);
    assert.doesNotMatch(page, /<li>127\.0\.0\.1:10250/);
  });

  it('shows why a renewal fails while the certificate is still usable', () => {
    const lastFailure = {
      code: 'API_FORBIDDEN',
      message: 'may not',
      remedy: 'Bind it',
      at: now,
    } as const;
    const page = statusPage(agent([client({ attempts: 1, overdue: true, lastFailure })]));
    assert.match(page, /<li>the rotation is overdue<\/li>/);
    assert.match(page, /<li>last failure API_FORBIDDEN: may not<\/li><li>remedy: Bind it<\/li>/);
  });

  it('hides a failure that has been resolved', () => {
    const lastFailure = { code: 'API_FORBIDDEN', message: 'may not', at: now } as const;
    assert.doesNotMatch(statusPage(agent([client({ lastFailure })])), /may not/);
  });

  it('leaves out facts of a missing certificate', () => {
    const page = statusPage(agent([server()]));
    assert.doesNotMatch(page, /class="bar"|Serial|undefined|NaN/);
    assert.match(page, /<code>node-csr-abc<\/code>, pending for 2h/);
  });

  it('escapes every value from outside', () => {
    const evil = '<img src=x onerror=alert(1)>';
    const everywhere = client({
      name: evil,
      signerName: evil,
      path: evil,
      usable: false,
      current: facts({
        serial: evil,
        issuer: evil,
        dnsNames: [evil],
        subject: { commonName: evil, organizations: [evil] },
      }),
      csr: { name: evil, uid: evil, createdAt: now },
      lastFailure: { code: 'CSR_DENIED', message: evil, remedy: evil, at: now },
      lastEvent: { at: now, text: evil },
    });
    const page = statusPage(
      agent([everywhere], { nodeName: evil, version: evil, certificateDirectory: evil }),
    );
    assert.doesNotMatch(page, /<img/);
    assert.equal(page.split('&lt;img src=x').length - 1, 16);
  });

  it('loads nothing: no script and no external address', () => {
    const page = statusPage(agent([client(), server()]));
    assert.doesNotMatch(page, /<script|https?:|url\(|@import|src=/);
  });
});
