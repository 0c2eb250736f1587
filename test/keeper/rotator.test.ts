import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { CertificateSpec } from '../../src/core/certificate-spec.ts';
import type { Failure } from '../../src/core/errors.ts';
import { day, formatInstant, hour, minute, second } from '../../src/core/instant.ts';
import { clientTemplate, pairFor, servingSpec, servingTemplate, start } from '../core/fixtures.ts';
import { clientSpec } from './fixtures.ts';
import { clientPair, denied, lostFailure, Story, unreachable } from './story.ts';

const standIn = pairFor(servingTemplate, { serial: '1', selfSigned: true });
const selfSigningSpec: CertificateSpec = { ...servingSpec, selfSignedUntilIssued: true };

describe('Rotator', () => {
  it('waits longer for a pair with the expiry of its predecessor', async () => {
    const story = new Story();
    story.report({ type: 'inspected', findings: [] });
    story.requested();
    const first = clientPair({ storedAt: story.clock.now() });
    story.report({ type: 'stored', pair: first, findings: [] });
    await story.clock.advance(first.notAfter - minute - story.clock.now());
    story.rotator.tick();
    story.requested();
    const next = { ...first, serial: 'ff', storedAt: story.clock.now() };
    story.report({ type: 'stored', pair: next, findings: [] });
    const { rotationDeadline = 0 } = story.rotator.status();
    assert.ok(rotationDeadline >= next.storedAt + 30 * minute);
    assert.deepEqual(story.link.take().slice(-2), ['enroll', 'enroll']);
    await story.clock.advance(2 * minute);
    story.rotator.tick();
    assert.deepEqual(story.link.take(), []);
  });

  for (const [files, off] of [
    ['a day behind', -day],
    ['a day ahead', day],
  ] as const) {
    it(`counts from the moment of storing if the file system clock is ${files}`, async () => {
      const story = new Story();
      story.report({ type: 'inspected', findings: [] });
      story.requested();
      await story.clock.advance(2 * hour);
      const now = story.clock.now();
      const times = { notBefore: now - 2 * hour, notAfter: now + hour, storedAt: now + off };
      const pair = clientPair(times);
      story.report({ type: 'stored', pair, findings: [] });
      // The inspection after each change of the files sees the same file time.
      story.report({ type: 'inspected', pair, findings: [] });
      const { rotationDeadline = 0 } = story.rotator.status();
      assert.ok(rotationDeadline >= now + 0.7 * hour && rotationDeadline <= now + 0.9 * hour);
      story.link.take();
      await story.pass(minute);
      assert.deepEqual(story.link.take(), []);
    });
  }

  it('has the same deadline after a restart', async () => {
    const story = new Story();
    story.report({ type: 'inspected', findings: [] });
    story.requested();
    const pair = clientPair({ storedAt: story.clock.now() });
    await story.clock.advance(3 * second);
    story.report({ type: 'stored', pair, findings: [] });
    const next = new Story();
    next.report({ type: 'inspected', pair, findings: [] });
    const { rotationDeadline } = story.rotator.status();
    assert.ok(rotationDeadline !== undefined);
    assert.equal(next.rotator.status().rotationDeadline, rotationDeadline);
  });

  it('moves the deadline with the window, and requests only if it has passed', async () => {
    const pair = clientPair();
    const late = new Story({ ...clientSpec, rotationWindow: { from: 0.94, to: 0.95 } });
    await late.pass(30 * minute);
    late.report({ type: 'inspected', pair, findings: [] });
    const { rotationDeadline = 0 } = late.rotator.status();
    assert.ok(rotationDeadline >= start + 0.94 * hour && rotationDeadline <= start + 0.95 * hour);
    assert.deepEqual(late.link.take(), ['inspect']);
    assert.deepEqual(late.logger.take(), [
      'rotation_deadline',
      'rotation_waiting',
      'lifetime_too_short_for_kubelet',
    ]);
    const early = new Story({ ...clientSpec, rotationWindow: { from: 0.1, to: 0.11 } });
    await early.pass(30 * minute);
    early.report({ type: 'inspected', pair, findings: [] });
    assert.deepEqual(early.link.take(), ['inspect', 'enroll']);
    assert.equal(early.logger.all('rotation_started')[0]?.['reason'], 'deadline');
  });

  it('inspects, requests, and logs each step once', async () => {
    const story = new Story();
    assert.deepEqual(story.link.take(), ['inspect']);
    story.report({ type: 'inspected', findings: [] });
    assert.deepEqual(story.link.commands, [
      { type: 'enroll', name: 'kubelet-client', template: clientTemplate },
    ]);
    assert.equal(story.rotator.status().state, 'requesting');
    story.requested();
    // The enroller reports the CSR again when it resumes after a failure.
    story.requested();
    assert.equal(story.rotator.status().state, 'pending-approval');
    assert.deepEqual(story.open, ['csr-1']);
    story.report({ type: 'approved', csr: story.csr('csr-1') });
    assert.equal(story.rotator.status().state, 'pending-issuance');
    assert.deepEqual(story.open, ['csr-1']);
    await story.clock.advance(3 * second);
    story.report({ type: 'issued', csr: story.csr('csr-1') });
    const pair = clientPair({ storedAt: story.clock.now() });
    story.report({ type: 'stored', pair, findings: [] });

    assert.deepEqual(story.logger.events, [
      'rotation_started',
      'csr_created',
      'csr_approved',
      'csr_issued',
      'certificate_stored',
      'rotation_deadline',
      'rotation_waiting',
    ]);
    assert.deepEqual(story.logger.all('certificate_stored'), [
      {
        event: 'certificate_stored',
        certificate: 'kubelet-client',
        serial: '4f2a',
        notAfter: '2026-01-01T01:00:00Z',
        path: pair.path,
        seconds: 3,
      },
    ]);
    assert.deepEqual(story.observer.requested, ['kubelet-client']);
    assert.deepEqual(story.observer.stored, [{ name: 'kubelet-client', seconds: 3 }]);
    assert.deepEqual(story.observer.failures, []);
    const status = story.rotator.status();
    assert.equal(status.state, 'valid');
    assert.equal(status.rotations, 1);
    assert.equal(status.lastEvent?.text, 'rotation_waiting');
  });

  it('requests nothing until the deadline of the pair that it found', async () => {
    const story = new Story();
    story.report({ type: 'inspected', pair: clientPair(), findings: [] });
    assert.deepEqual(story.link.take(), ['inspect']);
    const { rotationDeadline = 0 } = story.rotator.status();
    assert.equal(story.rotator.wake, rotationDeadline);
    await story.pass(rotationDeadline - start - 1);
    assert.deepEqual(story.link.take(), []);
    await story.pass(1);
    assert.deepEqual(story.link.take(), ['enroll']);
    const [line] = story.logger.all('rotation_started');
    assert.equal(line?.['reason'], 'deadline');
    story.report({
      type: 'stored',
      pair: clientPair({ serial: '2', notAfter: start + 5 * hour, storedAt: story.clock.now() }),
      findings: [],
    });
    const age = (rotationDeadline - start) / second;
    assert.deepEqual(story.observer.stored, [
      { name: 'kubelet-client', seconds: 0, ageOfReplaced: age },
    ]);
  });

  it('logs one event for each finding of the store', () => {
    const story = new Story();
    const findings = [
      { kind: 'pair-set-aside', path: '/pki/x', detail: 'torn' },
      { kind: 'link-repaired', path: '/pki/y', detail: 'leads on' },
    ] as const;
    story.report({ type: 'inspected', pair: clientPair(), findings });
    assert.deepEqual(story.logger.lines.slice(0, 2), [
      { event: 'pair_set_aside', certificate: 'kubelet-client', path: '/pki/x', detail: 'torn' },
      { event: 'link_repaired', certificate: 'kubelet-client', path: '/pki/y', detail: 'leads on' },
    ]);
  });

  it('logs a pair that another program changed, and requests a new one', () => {
    const story = new Story();
    story.report({ type: 'inspected', pair: clientPair(), findings: [] });
    story.rotator.filesChanged();
    story.report({ type: 'inspected', pair: clientPair({ serial: '77' }), findings: [] });
    assert.equal(story.logger.all('pair_changed')[0]?.['serial'], '77');
    story.rotator.filesChanged();
    story.report({ type: 'inspected', findings: [] });
    assert.equal(story.logger.all('pair_changed').length, 2);
    assert.equal(story.logger.all('rotation_started')[0]?.['reason'], 'no-pair');
  });

  it('logs nothing if an inspection finds the known pair', () => {
    const story = new Story();
    story.report({ type: 'inspected', pair: clientPair(), findings: [] });
    story.logger.take();
    story.rotator.filesChanged();
    story.report({ type: 'inspected', pair: clientPair(), findings: [] });
    assert.deepEqual(story.logger.lines, []);
  });

  it('logs a failure with code, remedy and time of the next attempt', () => {
    const story = new Story();
    story.toPending();
    story.fail(denied);
    assert.deepEqual(story.logger.all('rotation_failed'), [
      {
        event: 'rotation_failed',
        certificate: 'kubelet-client',
        attempt: 1,
        code: 'CSR_DENIED',
        error: 'no',
        remedy: 'Ask why',
        retryAt: '2026-01-01T02:00:00Z',
      },
    ]);
    assert.deepEqual(story.observer.failures, ['kubelet-client CSR_DENIED']);
    assert.equal(story.rotator.status().lastEvent?.text, 'rotation_failed CSR_DENIED');
  });

  it('names the CSR that remains after a failure', () => {
    const story = new Story();
    story.toPending();
    story.fail({ code: 'STORE_FULL', message: 'full' }, true);
    assert.equal(story.logger.all('rotation_failed')[0]?.['csr'], 'csr-1');
    assert.equal(story.rotator.status().csr?.name, 'csr-1');
  });

  for (const code of ['CSR_DENIED', 'CSR_DELETED', 'API_UNREACHABLE', 'ENROLLER_LOST'] as const) {
    it(`keeps the CSR in the journal after ${code}`, () => {
      const story = new Story();
      story.toPending();
      story.fail({ code, message: 'x' }, code === 'API_UNREACHABLE');
      assert.deepEqual(story.open, ['csr-1']);
    });
  }

  it('keeps the CSR in the journal until its certificate is stored', () => {
    const story = new Story();
    story.toPending();
    story.report({ type: 'issued', csr: { name: 'csr-1', uid: 'u', createdAt: 0 } });
    assert.deepEqual(story.open, ['csr-1']);
    story.report({ type: 'stored', pair: clientPair(), findings: [] });
    assert.deepEqual(story.open, []);
  });

  it('logs the recovery after failures', async () => {
    const story = new Story();
    story.report({ type: 'inspected', findings: [] });
    story.fail(unreachable);
    await story.pass(3 * second);
    story.requested();
    story.report({ type: 'stored', pair: clientPair(), findings: [] });
    assert.equal(story.logger.all('rotation_recovered')[0]?.['failures'], 1);
    assert.equal(story.rotator.status().attempts, 0);
  });

  it('logs lost contact at the start, for each new code, and every ten minutes', async () => {
    const story = new Story();
    story.toPending();
    const forbidden: Failure = { code: 'API_FORBIDDEN', message: 'no', remedy: 'bind a role' };
    for (const failure of [unreachable, unreachable, forbidden, forbidden, unreachable]) {
      story.report({ type: 'retrying', failure });
      await story.pass(second);
    }
    const codes = (): unknown[] =>
      story.logger.all('csr_wait_retrying').map((line) => line['code']);
    const expected = ['API_UNREACHABLE', 'API_FORBIDDEN', 'API_UNREACHABLE'];
    assert.deepEqual(codes(), expected);
    assert.equal(story.logger.all('csr_wait_retrying')[1]?.['remedy'], 'bind a role');
    await story.pass(10 * minute);
    story.report({ type: 'retrying', failure: unreachable });
    assert.deepEqual(codes(), [...expected, 'API_UNREACHABLE']);
    assert.equal(story.observer.failures.length, 4);
    assert.equal(story.rotator.status().state, 'pending-approval');
  });

  it('logs when a rotation becomes overdue, and when it no longer is', async () => {
    const story = new Story(servingSpec, { identityReady: false });
    story.report({ type: 'inspected', pair: pairFor(servingTemplate), findings: [] });
    await story.pass(56 * minute);
    assert.deepEqual(story.link.take(), ['inspect']);
    assert.equal(story.rotator.status().overdue, true);
    await story.pass(minute);
    const [line, ...more] = story.logger.all('rotation_overdue');
    assert.deepEqual(more, []);
    assert.equal(line?.['serial'], '4f2a');
    assert.match(String(line?.['remedy']), /nodecertd status/);
    story.rotator.setIdentityReady(true);
    const pair = pairFor(servingTemplate, {
      serial: '2',
      notAfter: start + 9 * hour,
      storedAt: story.clock.now(),
    });
    story.report({ type: 'stored', pair, findings: [] });
    assert.equal(story.logger.all('rotation_overdue_over').length, 1);
    assert.equal(story.rotator.status().overdue, false);
  });

  it('requests a temporary self-signed certificate once, if configured', () => {
    const story = new Story(selfSigningSpec, { identityReady: false });
    story.report({ type: 'inspected', findings: [] });
    story.rotator.filesChanged();
    story.report({ type: 'inspected', findings: [] });
    assert.deepEqual(story.link.take(), ['inspect', 'self-sign', 'inspect']);
    const other = new Story(servingSpec, { identityReady: false });
    other.report({ type: 'inspected', findings: [] });
    assert.deepEqual(other.link.take(), ['inspect']);
  });

  for (const [what, happens] of [
    [
      'went wrong',
      (story: Story) => story.report({ type: 'inspection-failed', failure: unreachable }),
    ],
    ['was lost with the enroller', (story: Story) => story.link.lose(lostFailure)],
  ] as const) {
    it(`requests a temporary certificate again if the first ${what}`, async () => {
      const story = new Story(selfSigningSpec);
      story.report({ type: 'inspected', findings: [] });
      assert.deepEqual(story.link.take(), ['inspect', 'self-sign', 'enroll']);
      happens(story);
      story.fail(unreachable);
      await story.pass(minute);
      assert.deepEqual(story.link.take(), ['self-sign', 'enroll']);
    });
  }

  it('does not count a temporary certificate as rotation or usable', () => {
    const story = new Story(selfSigningSpec, { identityReady: false });
    story.report({ type: 'inspected', findings: [] });
    story.report({ type: 'inspected', pair: standIn, findings: [] });
    const status = story.rotator.status();
    assert.equal(status.rotations, 0);
    assert.equal(status.usable, false);
    assert.equal(status.rotationDeadline, undefined);
    assert.deepEqual(story.logger.all('rotation_deadline'), []);
    assert.deepEqual(story.observer.stored, []);
    story.rotator.setIdentityReady(true);
    story.report({ type: 'stored', pair: pairFor(servingTemplate), findings: [] });
    assert.deepEqual(story.observer.stored, [{ name: 'kubelet-server', seconds: 0 }]);
    assert.equal(story.rotator.status().rotations, 1);
  });

  const lifetimes: readonly (readonly [number | undefined, number, boolean])[] = [
    [undefined, minute, false],
    [3_600, hour, false],
    [3_600, 55 * minute, false],
    [3_600, 53 * minute, true],
  ];
  for (const [requested, issued, warned] of lifetimes) {
    it(`${warned ? 'warns' : 'does not warn'} of ${issued / minute} minutes instead of ${requested} seconds`, () => {
      const story = new Story({
        ...clientSpec,
        ...(requested !== undefined && { expirationSeconds: requested }),
      });
      story.report({ type: 'inspected', findings: [] });
      const pair = clientPair({ notAfter: start + issued });
      story.report({ type: 'stored', pair, findings: [] });
      const [line] = story.logger.all('certificate_lifetime_short');
      assert.deepEqual(
        line === undefined ? undefined : [line['asked'], line['issued']],
        warned ? [requested, issued / second] : undefined,
      );
    });
  }

  it('delays the first request after unfinished CSRs, and logs why', async () => {
    const left = [1, 2, 3].map((n) => ({ csr: `old-${n}`, createdAt: start - minute }));
    const story = new Story(clientSpec, { outstanding: { 'kubelet-client': left } });
    story.report({ type: 'inspected', findings: [] });
    assert.deepEqual(
      story.logger.all('csr_unfinished').map(({ count, retryAt }) => [count, retryAt]),
      [[3, formatInstant(start + minute)]],
    );
    const { state, nextAttempt } = story.rotator.status();
    assert.deepEqual([state, nextAttempt], ['backing-off', start + minute]);
    await story.pass(59 * second);
    assert.deepEqual(story.link.take(), ['inspect']);
    await story.pass(second);
    assert.deepEqual(story.link.take(), ['enroll']);
  });

  it('does not count a CSR whose pair an earlier run stored', () => {
    const left = [1, 2].map((n) => ({ csr: `old-${n}`, createdAt: start - minute }));
    const story = new Story(clientSpec, { outstanding: { 'kubelet-client': left } });
    story.report({ type: 'inspected', pair: clientPair(), csr: 'old-2', findings: [] });
    assert.deepEqual(story.open, []);
    assert.deepEqual(story.logger.all('csr_unfinished'), []);
  });

  it('counts unfinished CSRs even if another pair exists', () => {
    const left = [{ csr: 'old', createdAt: start - minute }];
    const story = new Story(clientSpec, { outstanding: { 'kubelet-client': left } });
    for (const csr of ['another', undefined]) {
      const found = { ...(csr !== undefined && { csr }), pair: clientPair() };
      story.report({ type: 'inspected', ...found, findings: [] });
    }
    assert.deepEqual(story.open, ['old']);
    assert.equal(story.logger.all('csr_unfinished').length, 1);
  });

  it('logs once what is missing, the identity first', () => {
    const story = new Story(servingSpec, { identityReady: false });
    story.rotator.setTemplate(undefined);
    assert.deepEqual(story.logger.take(), []);
    story.report({ type: 'inspected', findings: [] });
    story.rotator.tick();
    assert.deepEqual(story.logger.take(), ['waiting_for_identity']);
    story.rotator.setIdentityReady(true);
    story.rotator.tick();
    assert.deepEqual(story.logger.take(), ['waiting_for_addresses']);
    story.rotator.setTemplate(servingTemplate);
    assert.deepEqual(story.logger.take(), ['rotation_started']);
    story.rotator.setTemplate(undefined);
    assert.deepEqual(story.logger.take(), ['waiting_for_addresses']);
  });

  it('logs a pending CSR with the command that approves it', async () => {
    const story = new Story();
    story.toPending();
    await story.pass(minute);
    await story.pass(second);
    assert.deepEqual(story.logger.all('csr_pending'), [
      {
        event: 'csr_pending',
        certificate: 'kubelet-client',
        csr: 'csr-1',
        signer: clientSpec.signerName,
        waiting: '1m',
        remedy: 'Approve it: kubectl certificate approve csr-1',
      },
    ]);
  });

  it('abandons a request whose template changed, and restarts its time', async () => {
    const story = new Story(servingSpec);
    story.report({ type: 'inspected', findings: [] });
    story.requested();
    story.link.take();
    const changed = { ...servingTemplate, ipAddresses: ['10.0.0.2'] };
    story.rotator.setTemplate(changed);
    assert.deepEqual(story.link.take(), []);
    await story.pass(15 * second);
    assert.deepEqual(story.link.take(), ['abandon', 'enroll']);
    assert.deepEqual(story.open, ['csr-1']);
    await story.pass(2 * second);
    const pair = pairFor(changed, { storedAt: story.clock.now() });
    story.report({ type: 'stored', pair, findings: [] });
    assert.equal(story.observer.stored[0]?.seconds, 2);
  });

  it('a lost enroller fails a request in progress, which is retried', async () => {
    const story = new Story();
    story.toPending();
    story.link.take();
    story.link.lose(lostFailure);
    assert.equal(story.rotator.status().state, 'backing-off');
    assert.deepEqual(story.observer.failures, ['kubelet-client ENROLLER_LOST']);
    await story.pass(6 * second);
    assert.deepEqual(story.link.take(), ['enroll']);
  });

  it('a lost enroller repeats an inspection', async () => {
    const story = new Story();
    story.link.lose(lostFailure);
    assert.equal(story.logger.all('rotation_failed')[0]?.['code'], 'ENROLLER_LOST');
    story.link.take();
    await story.pass(6 * second);
    assert.deepEqual(story.link.take(), ['inspect']);
  });

  it('a lost enroller drops the key for the retry', () => {
    const story = new Story();
    story.toPending();
    story.fail({ code: 'STORE_FULL', message: 'full' }, true);
    story.link.lose(lostFailure);
    assert.equal(story.rotator.status().lastFailure?.code, 'ENROLLER_LOST');
    assert.equal(story.rotator.status().csr, undefined);
  });

  it('a lost enroller does not shorten the delay after a denial', async () => {
    const story = new Story();
    story.toPending();
    story.fail(denied);
    const { nextAttempt } = story.rotator.status();
    story.link.lose(lostFailure);
    assert.equal(story.rotator.status().nextAttempt, nextAttempt);
    assert.equal(story.rotator.status().lastFailure?.code, 'CSR_DENIED');
    assert.equal(story.logger.all('rotation_failed').length, 1);
  });

  it('a lost enroller does not affect an idle rotation', () => {
    const story = new Story();
    story.report({ type: 'inspected', pair: clientPair(), findings: [] });
    story.link.lose(lostFailure);
    assert.deepEqual(story.observer.failures, []);
    assert.equal(story.rotator.status().state, 'valid');
  });

  it('retries at once when the credential changes', async () => {
    const story = new Story();
    story.report({ type: 'inspected', findings: [] });
    story.fail({ code: 'KUBECONFIG_MISSING', message: 'none' });
    story.link.take();
    await story.clock.advance(second);
    story.rotator.credentialChanged();
    assert.deepEqual(story.link.take(), ['enroll']);
  });

  it('reports a pair once when an inspection finds it before the enroller reports it', async () => {
    const story = new Story();
    story.report({ type: 'inspected', pair: clientPair(), findings: [] });
    const { rotationDeadline = 0 } = story.rotator.status();
    await story.pass(rotationDeadline - start);
    story.requested();
    story.report({ type: 'issued', csr: story.csr('csr-1') });
    const now = story.clock.now();
    const pair = clientPair({ serial: '2', notBefore: now, notAfter: now + hour, storedAt: now });
    story.rotator.filesChanged();
    story.logger.take();
    story.report({ type: 'inspected', pair, csr: 'csr-1', findings: [] });
    story.report({ type: 'stored', pair, findings: [] });
    assert.deepEqual(story.logger.take(), [
      'rotation_deadline',
      'rotation_waiting',
      'certificate_stored',
    ]);
    assert.deepEqual(
      story.observer.stored.map(({ ageOfReplaced }) => ageOfReplaced),
      [(now - start) / second],
    );
    assert.ok((story.rotator.status().rotationDeadline ?? Infinity) < pair.notAfter);
  });

  it('storing is true while the enroller may write the pair', () => {
    const story = new Story();
    assert.equal(story.rotator.storing, false);
    story.report({ type: 'inspected', findings: [] });
    assert.equal(story.rotator.storing, true);
    story.requested();
    assert.equal(story.rotator.storing, false);
    story.report({ type: 'issued', csr: story.csr('csr-1') });
    assert.equal(story.rotator.storing, true);
    story.report({ type: 'stored', pair: clientPair(), findings: [] });
    assert.equal(story.rotator.storing, false);
  });

  it('logs once that it defers to the kubelet, and when that ends', async () => {
    // Only the kubelet's window counts for a certificate that it rotates.
    const story = new Story({ ...clientSpec, rotationWindow: { from: 0.1, to: 0.11 } });
    const observed = { file: '/var/lib/kubelet/config.yaml', key: 'rotateCertificates' };
    const first = clientPair();
    for (const _ of [1, 2])
      story.report({ type: 'inspected', pair: first, observed, findings: [] });
    assert.deepEqual(story.logger.take(), [
      'deferring_to_kubelet',
      'rotation_deadline',
      'rotation_waiting',
    ]);
    assert.equal(story.rotator.status().state, 'observing');
    assert.equal(story.rotator.status().rotationDeadline, first.notBefore + 0.9 * hour);
    const next = clientPair({ serial: '9', notAfter: start + 5 * hour, path: '/pki/next.pem' });
    story.report({ type: 'inspected', pair: next, observed, findings: [] });
    assert.deepEqual(story.logger.take(), [
      'pair_observed',
      'rotation_deadline',
      'rotation_waiting',
    ]);
    await story.pass(day);
    assert.deepEqual(story.logger.take(), ['rotation_overdue']);
    assert.deepEqual(story.link.take(), ['inspect']);
    story.report({ type: 'inspected', pair: next, findings: [] });
    assert.deepEqual(story.link.take(), ['enroll']);
    assert.equal(story.logger.events[0], 'deferring_to_kubelet_over');
  });

  it('requests no temporary certificate if the kubelet has no pair yet', () => {
    const story = new Story(selfSigningSpec);
    const observed = { file: '/config.yaml', key: 'serverTLSBootstrap' };
    story.report({ type: 'inspected', observed, findings: [] });
    assert.deepEqual(story.link.take(), ['inspect']);
  });

  for (const [lifetime, spec, to, least] of [
    [48 * minute, clientSpec, 0.9, '55m'],
    [hour, clientSpec, 0.9, undefined],
    [48 * minute, servingSpec, 0.9, undefined],
    [98 * minute, clientSpec, 0.95, '1h 45m'],
    [101 * minute, clientSpec, 0.95, undefined],
    [11 * minute, clientSpec, 0.5, undefined],
  ] as const) {
    const title = `${lifetime / minute} minutes for ${spec.name}, rotated by ${to * 100}%`;
    it(`${least === undefined ? 'does not warn' : 'warns once'} about ${title}`, () => {
      const story = new Story({ ...spec, rotationWindow: { from: 0.1, to } });
      for (const serial of ['1', '2']) {
        const notAfter = start + lifetime + Number(serial);
        const wanted = spec === clientSpec ? clientTemplate : servingTemplate;
        const pair = pairFor(wanted, { serial, notAfter, path: `/pki/${serial}.pem` });
        story.report({ type: 'inspected', pair, findings: [] });
      }
      const found = story.logger.all('lifetime_too_short_for_kubelet');
      assert.equal(found.length, least === undefined ? 0 : 1);
      if (least !== undefined)
        assert.ok(String(found[0]?.['remedy']).includes(`${least}, or lower`));
    });
  }
});

describe('Rotator with hooks', () => {
  const first = clientPair({ serial: 'a' });
  const second = clientPair({ serial: 'b', notBefore: start + hour, notAfter: start + 2 * hour });
  const stale: Failure = { code: 'SERVED_STALE', message: 'not served', remedy: 'mend it' };

  it('reports each stored pair', async () => {
    const story = new Story();
    story.report({ type: 'inspected', findings: [] });
    assert.deepEqual(story.reported, []);
    story.requested();
    story.report({ type: 'stored', pair: first, findings: [] });
    story.report({ type: 'inspected', pair: first, findings: [] });
    assert.deepEqual(story.reported, ['stored a']);
  });

  it('reports a found pair once, and no pair of another program', () => {
    const story = new Story();
    story.report({ type: 'inspected', pair: first, findings: [] });
    story.report({ type: 'inspected', pair: second, findings: [] });
    assert.deepEqual(story.reported, ['found a']);
  });

  it('reports a pair that an earlier run stored without recording it', () => {
    const left = [{ csr: 'old', createdAt: start - minute }];
    const story = new Story(clientSpec, { outstanding: { 'kubelet-client': left } });
    story.report({ type: 'inspected', pair: first, csr: 'old', findings: [] });
    assert.deepEqual(story.reported, ['stored a']);
  });

  it('reports a new temporary self-signed certificate', () => {
    const story = new Story(selfSigningSpec);
    story.report({ type: 'inspected', findings: [] });
    story.report({ type: 'inspected', pair: standIn, isNew: true, findings: [] });
    story.report({ type: 'inspected', pair: standIn, findings: [] });
    assert.deepEqual(story.reported, ['stored 1']);
  });

  it('reports a pair that an abandoned attempt has stored', async () => {
    const story = new Story();
    story.toPending();
    story.rotator.setTemplate({ ...clientTemplate, dnsNames: ['worker-1'] });
    await story.pass(minute / 4);
    story.report({ type: 'stored', attempt: 1, pair: first, findings: [] });
    assert.deepEqual(story.reported, ['stored a']);
  });

  it('waits after a rollback, and logs why and until when', async () => {
    const story = new Story();
    story.report({ type: 'inspected', pair: first, findings: [] });
    await story.pass(50 * minute);
    story.rotator.renew();
    story.report({ type: 'stored', pair: second, findings: [] });
    assert.equal(story.rotator.isIdle, true);
    story.logger.take();
    const until = story.rotator.rolledBack({ pair: first, failure: stale, count: 1 });
    const { state, current, lastFailure, nextAttempt, overdue } = story.rotator.status();
    assert.equal(state, 'backing-off');
    assert.equal(current?.serial, 'a');
    assert.equal(lastFailure?.code, 'SERVED_STALE');
    assert.equal(nextAttempt, until);
    // Three quarters of the ten minutes that the previous pair has left.
    assert.equal(nextAttempt, story.clock.now() + 7.5 * minute);
    assert.equal(overdue, false);
    assert.equal(story.rotator.isIdle, false);
    assert.deepEqual(story.observer.failures, ['kubelet-client SERVED_STALE']);
    assert.deepEqual(story.logger.take(), [
      'rotation_deadline',
      'rotation_waiting',
      'rotation_failed',
    ]);
    story.rotator.filesChanged();
    story.report({ type: 'inspected', pair: first, findings: [] });
    assert.deepEqual(story.logger.all('pair_changed'), []);
    story.link.take();
    await story.pass(7.5 * minute);
    assert.deepEqual(story.link.take(), ['enroll']);
  });

  it('continues the wait after a rollback of an earlier run', async () => {
    const until = start + 90 * minute;
    const pair = clientPair({
      serial: 'a',
      notAfter: start + 100 * day,
      storedAt: start - 500 * day,
    });
    const story = new Story(clientSpec, {
      rollback: { pair, failure: stale, count: 2, until },
    });
    story.report({ type: 'inspected', pair, findings: [] });
    assert.equal(story.rotator.status().nextAttempt, until);
    assert.equal(story.logger.all('rotation_failed')[0]?.['code'], 'SERVED_STALE');
    assert.deepEqual(story.reported, ['found a']);
    // Only the first inspection counts; a pair that is found later is another one.
    story.report({ type: 'inspected', pair: second, findings: [] });
    assert.equal(story.logger.all('rotation_failed').length, 1);
  });
});
