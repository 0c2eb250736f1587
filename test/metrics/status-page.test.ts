import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { PairFacts } from '../../src/core/certificate.ts';
import { day, hour } from '../../src/core/instant.ts';
import { statusPage } from '../../src/metrics/status-page.ts';
import { agent, client, facts, followed, now, server } from './fixtures.ts';

function pageOf(changes: Partial<PairFacts>): string {
  const current = facts(changes);
  return statusPage(agent([client({ current, rotationDeadline: now - 20 * day })]));
}

describe('statusPage()', () => {
  it('shows the part of the lifetime that is over and where the rotation is due', () => {
    const page = statusPage(agent([client()]));
    assert.match(page, /<div class="past" style="width:25%"><\/div>/);
    assert.match(page, /<div class="mark" style="left:75%"><\/div>/);
    assert.match(page, /rotation in 20d ▾/);
    assert.match(page, /30d left/);
    assert.match(page, /1 of 1 usable/);
  });

  it('counts the lifetime from the moment of issue, as the rotation does', () => {
    const page = pageOf({ notBefore: now - 30 * day, storedAt: now - 10 * day });
    assert.match(page, /<div class="past" style="width:25%"><\/div>/);
  });

  it('keeps bar and mark inside when the certificate is expired or not valid yet', () => {
    const expired = pageOf({ notAfter: now - hour });
    assert.match(expired, /class="past all" style="width:100%"/);
    assert.match(expired, /expired 1h ago/);
    const future = pageOf({ notBefore: now + hour });
    assert.match(future, /class="past" style="width:0%"/);
    assert.match(future, /class="mark" style="left:0%"/);
  });

  const tones: readonly (readonly [string, Parameters<typeof client>[0], string])[] = [
    ['a usable one', {}, 'good'],
    ['one that is overdue', { overdue: true }, 'warn'],
    ['one whose renewal fails', { attempts: 2 }, 'warn'],
    ['one whose server has not taken it over', followed, 'warn'],
    ['an unusable one', { usable: false }, 'bad'],
  ];
  for (const [title, changes, tone] of tones) {
    it(`marks ${title} as ${tone}`, () => {
      assert.ok(statusPage(agent([client(changes)])).includes(`<article class="${tone}">`));
    });
  }

  it('says which hook fails and where another certificate is served', () => {
    const page = statusPage(agent([client(followed)]));
    assert.match(page, /<li>the hook reload nginx\.service: exit code 1<\/li>/);
    assert.match(page, /<li>\[::1\]:10250 shows no certificate: connect ECONNREFUSED<\/li>/);
    assert.doesNotMatch(page, /<li>127\.0\.0\.1:10250/);
  });

  it('says why a renewal fails and what to do while the certificate is still good', () => {
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

  it('does not repeat a failure that is over', () => {
    const lastFailure = { code: 'API_FORBIDDEN', message: 'may not', at: now } as const;
    assert.doesNotMatch(statusPage(agent([client({ lastFailure })])), /may not/);
  });

  it('leaves out what a missing certificate has not got', () => {
    const page = statusPage(agent([server()]));
    assert.doesNotMatch(page, /class="bar"|Serial|undefined|NaN/);
    assert.match(page, /<code>node-csr-abc<\/code>, for 2h/);
  });

  it('escapes everything that others had a hand in', () => {
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

  it('loads nothing: no script, no address of anything else', () => {
    const page = statusPage(agent([client(), server()]));
    assert.doesNotMatch(page, /<script|https?:|url\(|@import|src=/);
  });
});
