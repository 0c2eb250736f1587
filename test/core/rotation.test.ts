import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import type { CertificateTemplate } from '../../src/core/certificate-spec.ts';
import type { PairFacts } from '../../src/core/certificate.ts';
import type { CsrReference } from '../../src/core/enroller-protocol.ts';
import type { ErrorCode, Failure } from '../../src/core/errors.ts';
import { day, hour, minute, second } from '../../src/core/instant.ts';
import { nextWake } from '../../src/core/rotation-due.ts';
import { initialState } from '../../src/core/rotation-state.ts';
import type {
  RotationEffect,
  RotationEvent,
  RotationState,
} from '../../src/core/rotation-state.ts';
import { step } from '../../src/core/rotation.ts';
import { kubeletWindow, lifetimeStart } from '../../src/core/schedule.ts';
import {
  minimumRotationInterval,
  minimumTimeLeftForRollback,
  requestDelay,
  templateChangeDelay,
} from '../../src/core/timing.ts';
import { pairFor, servingTemplate as template, start } from './fixtures.ts';

const twoAddresses: CertificateTemplate = { ...template, ipAddresses: ['10.0.0.1', 'fd00::1'] };
const csr: CsrReference = { name: 'node-csr-a', uid: '1', createdAt: start };
const deadline = start + 0.8 * hour;
const failure = (code: ErrorCode, retryAfterMs?: number): Failure => ({
  code,
  message: 'it failed',
  ...(retryAfterMs !== undefined && { retryAfterMs }),
});

/** An event with a pair that is due at this moment, instead of at 80% of its lifetime. */
type Event = RotationEvent & { readonly due?: number };

function fractionOf({ due, ...event }: Event): number {
  if (due === undefined || !('pair' in event) || event.pair === undefined) return 0.5;
  const from = lifetimeStart(event.pair);
  return (
    ((due - from) / (event.pair.notAfter - from) - kubeletWindow.from) /
    (kubeletWindow.to - kubeletWindow.from)
  );
}

/** Drives one state machine. The random number is 0.5, so no delay is spread. */
class Story {
  state: RotationState;
  now = start;

  constructor(options: { readonly identityReady?: boolean; readonly delay?: number } = {}) {
    const { identityReady = true, delay = 0 } = options;
    this.state = initialState({ now: start, identityReady, delay });
  }

  /** Effects by name, and an enrollment with its reason: `enroll no-pair`. */
  on(event: Event): string[] {
    const context = {
      now: this.now,
      random: 0.5,
      window: kubeletWindow,
      fraction: () => fractionOf(event),
    };
    const { state, effects } = step(this.state, event, context);
    this.state = state;
    return effects.map(nameOf);
  }

  after(ms: number, event: Event = { type: 'tick' }): string[] {
    this.now += ms;
    return this.on(event);
  }

  get phase(): string {
    return this.state.phase.kind;
  }

  get wake(): number {
    return nextWake(this.state, this.now) - this.now;
  }
}

function nameOf(effect: RotationEffect): string {
  switch (effect.type) {
    case 'enroll':
      return `enroll ${effect.reason}`;
    case 'remind-approver':
      return `remind ${effect.ms / minute}`;
    case 'remind-signer':
      return `remind signer ${effect.ms / minute}`;
    case 'recovered':
      return `recovered ${effect.failures}`;
    case 'inspect':
    case 'abandon':
      return effect.type;
    default:
      return effect satisfies never;
  }
}

const inspected = (pair?: PairFacts, due = deadline): Event =>
  pair === undefined ? { type: 'inspected' } : { type: 'inspected', pair, due };
const wanting = (template?: CertificateTemplate): RotationEvent =>
  template === undefined ? { type: 'template' } : { type: 'template', template };
const stored = (now: number, serial = 'b'): Event => ({
  type: 'stored',
  pair: pairFor(template, { serial, notBefore: now, notAfter: now + hour }),
  due: now + 0.8 * hour,
});
const failed = (failure: Failure, resumable = true): RotationEvent => ({
  type: 'failed',
  failure,
  resumable,
});
const progress = (stage: 'pending' | 'approved' | 'issued'): RotationEvent => ({
  type: 'progress',
  stage,
  csr,
});

const future = pairFor(template, { notBefore: start + day, notAfter: start + 2 * day });

/** Idle with a good pair. */
function idle(pair: PairFacts = pairFor(template)): Story {
  const story = new Story();
  story.on(wanting(template));
  story.on(inspected(pair));
  return story;
}

/** With a request in progress. */
function enrolling(): Story {
  const story = new Story();
  story.on(wanting(template));
  assert.deepEqual(story.on(inspected()), ['enroll no-pair']);
  return story;
}

/** After a rotation and the time of its hooks. */
function renewed(): Story {
  const story = enrolling();
  story.on(stored(story.now));
  story.after(minute);
  return story;
}

describe('step() decides when to request a certificate', () => {
  it('requests nothing before the first inspection', () => {
    const story = new Story();
    assert.deepEqual(story.on(wanting(template)), []);
    assert.deepEqual(story.after(day), []);
    assert.equal(story.phase, 'inspecting');
  });

  it('requests at once if there is no pair', () => {
    assert.equal(enrolling().phase, 'enrolling');
  });

  it('waits for the deadline of a pair that it found, then requests', () => {
    const story = idle();
    assert.equal(story.phase, 'idle');
    assert.equal(story.wake, deadline - start);
    assert.deepEqual(story.after(deadline - start - 1), []);
    assert.deepEqual(story.after(1), ['enroll deadline']);
  });

  it('requests once, even if it ticks often', () => {
    const story = enrolling();
    for (let tick = 0; tick < 100; tick += 1) assert.deepEqual(story.after(minute), []);
  });

  const outright: readonly (readonly [string, Partial<PairFacts>, string])[] = [
    ['expired while the agent was stopped', { notAfter: start }, 'expired'],
    [
      'names another node',
      { subject: { commonName: 'system:node:worker-10', organizations: ['system:nodes'] } },
      'common-name-differs',
    ],
    [
      'lacks the group',
      { subject: { ...template.subject, organizations: [] } },
      'organization-missing',
    ],
    ['lacks a DNS name', { dnsNames: [] }, 'dns-name-missing'],
    ['lacks an address', { ipAddresses: ['10.0.0.2'] }, 'ip-address-missing'],
    ['is a temporary self-signed certificate', { selfSigned: true }, 'self-signed'],
  ];
  for (const [name, changes, reason] of outright) {
    it(`requests at once if the pair ${name}`, () => {
      const story = new Story();
      story.on(wanting(template));
      assert.deepEqual(story.on(inspected(pairFor(template, changes))), [`enroll ${reason}`]);
    });
  }

  it('accepts extra names, as the kubelet does', () => {
    assert.equal(idle(pairFor(twoAddresses)).phase, 'idle');
  });

  it('requests when addresses become known', () => {
    const story = new Story();
    assert.deepEqual(story.on(inspected()), []);
    assert.deepEqual(story.after(hour), []);
    assert.equal(story.wake, Infinity);
    assert.deepEqual(story.on(wanting(template)), ['enroll no-pair']);
  });

  it('requests when the client certificate becomes usable', () => {
    const story = new Story({ identityReady: false });
    story.on(wanting(template));
    assert.deepEqual(story.on(inspected()), []);
    assert.deepEqual(story.after(hour), []);
    assert.deepEqual(story.on({ type: 'identity', ready: true }), ['enroll no-pair']);
  });

  it('waits past the expiry of a pair with a postponed deadline', () => {
    const story = new Story();
    story.on(wanting(template));
    story.on(inspected());
    const pair = pairFor(template, { serial: 'b', notBefore: start, notAfter: start + hour });
    story.on({ type: 'stored', pair, due: start + 1.5 * hour });
    assert.equal(story.wake, hour);
    assert.deepEqual(story.after(hour), []);
    assert.equal(story.wake, 0.5 * hour);
    // A second inspection knows only the usual deadline.
    story.on({ type: 'files-changed' });
    assert.deepEqual(story.on(inspected(pair)), []);
    assert.equal(story.wake, 0.5 * hour);
    assert.deepEqual(story.after(0.5 * hour), ['enroll expired']);
  });

  it('keeps a valid pair past its deadline while the addresses are unknown', () => {
    const story = idle();
    story.on(wanting());
    assert.deepEqual(story.after(deadline - start), []);
    assert.deepEqual(story.on(wanting(template)), ['enroll deadline']);
  });

  it('delays the first request after unfinished requests of earlier runs', () => {
    const story = new Story({ delay: requestDelay(4) });
    story.on(wanting(template));
    assert.deepEqual(story.on(inspected()), []);
    assert.equal(story.wake, 5 * minute);
    assert.deepEqual(story.after(5 * minute - 1), []);
    assert.deepEqual(story.after(1), ['enroll no-pair']);
  });

  for (const back of [minute, 50 * minute, day]) {
    it(`restarts that delay if the clock is set back by ${back / minute} minutes`, () => {
      const story = new Story({ delay: 10 * second });
      story.on(wanting(template));
      story.on(inspected());
      assert.deepEqual(story.after(-back), []);
      assert.equal(story.wake, 10 * second);
      assert.deepEqual(story.after(10 * second), ['enroll no-pair']);
    });
  }
});

describe('step() during a request', () => {
  it('passes the stages and then waits with the new pair', () => {
    const story = enrolling();
    for (const stage of ['pending', 'approved', 'issued'] as const) {
      assert.deepEqual(story.on(progress(stage)), []);
      assert.deepEqual(story.state.phase, {
        kind: 'enrolling',
        since: start,
        stage,
        stageSince: start,
        csr,
        template,
      });
    }
    assert.deepEqual(story.after(second, stored(start + second)), []);
    assert.equal(story.phase, 'idle');
    assert.equal(story.state.rotations, 1);
    assert.equal(story.state.pair?.serial, 'b');
  });

  it('abandons the request if a new address lasts for 15 seconds', () => {
    const story = enrolling();
    assert.deepEqual(story.after(second, wanting(twoAddresses)), []);
    assert.equal(story.wake, templateChangeDelay);
    assert.deepEqual(story.after(templateChangeDelay - 1), []);
    assert.deepEqual(story.after(1), ['abandon', 'enroll no-pair']);
    assert.deepEqual(
      story.state.phase.kind === 'enrolling' && story.state.phase.template,
      twoAddresses,
    );
  });

  it('keeps the request if an address returns within that time', () => {
    const story = enrolling();
    story.after(second, wanting(twoAddresses));
    story.after(templateChangeDelay - second, wanting(template));
    assert.equal(story.wake, Infinity);
    assert.deepEqual(story.after(hour), []);
    // The next change has the whole time again.
    assert.deepEqual(story.after(second, wanting(twoAddresses)), []);
    assert.equal(story.wake, templateChangeDelay);
  });

  it('keeps the request even if a reminder is due when the address returns', () => {
    const story = enrolling();
    story.on(progress('pending'));
    story.after(minute - second, wanting(twoAddresses));
    assert.deepEqual(story.after(second, wanting(template)), ['remind 1']);
    assert.equal(story.wake, Infinity);
  });

  it('keeps the request while the addresses are unknown', () => {
    const story = enrolling();
    assert.deepEqual(story.after(second, wanting()), []);
    assert.deepEqual(story.after(hour), []);
    assert.equal(story.phase, 'enrolling');
  });

  it('abandons the request without a new one if the credential is missing', () => {
    const story = enrolling();
    story.on({ type: 'identity', ready: false });
    story.on(wanting(twoAddresses));
    assert.deepEqual(story.after(templateChangeDelay), ['abandon']);
    assert.equal(story.phase, 'idle');
    assert.deepEqual(story.on({ type: 'identity', ready: true }), ['enroll no-pair']);
  });

  it('abandons the request without a new one if the existing pair matches', () => {
    const story = idle(pairFor(template));
    assert.deepEqual(story.on(wanting(twoAddresses)), ['enroll ip-address-missing']);
    story.on(wanting(template));
    story.on(wanting({ ...template, ipAddresses: [] }));
    assert.deepEqual(story.after(templateChangeDelay), ['abandon']);
    assert.equal(story.phase, 'idle');
  });

  it('continues while the directory is inspected', () => {
    const story = enrolling();
    story.on(progress('pending'));
    assert.deepEqual(story.on({ type: 'files-changed' }), ['inspect']);
    assert.deepEqual(story.on(inspected(pairFor(template))), []);
    assert.equal(story.phase, 'enrolling');
    assert.equal(story.state.pair?.serial, '4f2a');
  });

  it('continues if that inspection fails', () => {
    const story = enrolling();
    story.on({ type: 'inspection-failed', failure: failure('STORE_IO') });
    assert.equal(story.phase, 'enrolling');
    assert.equal(story.state.lastFailure?.code, 'STORE_IO');
  });

  it('reminds of a missing approval after 1, 4, 16 and 64 minutes', () => {
    const story = enrolling();
    story.on(progress('pending'));
    const reminders: string[] = [];
    for (let elapsed = 0; elapsed < 2 * hour; elapsed += second)
      reminders.push(...story.after(second));
    assert.deepEqual(reminders, ['remind 1', 'remind 4', 'remind 16', 'remind 64']);
  });

  it('reminds of a missing certificate once the request is approved', () => {
    const story = enrolling();
    story.on(progress('pending'));
    assert.deepEqual(story.after(minute), ['remind 1']);
    assert.deepEqual(story.on(progress('approved')), []);
    assert.deepEqual(story.after(minute - 1), []);
    assert.deepEqual(story.after(1), ['remind signer 1']);
  });

  it('lengthens the delay if the template changes again and again', () => {
    const story = enrolling();
    const waits: number[] = [];
    for (const wanted of [twoAddresses, template, twoAddresses, template]) {
      story.on(wanting(wanted));
      let effects = story.after(templateChangeDelay);
      let waited = 0;
      while (!effects.includes('enroll no-pair')) {
        effects = [...effects, ...story.after(second)];
        waited += 1;
      }
      assert.equal(effects.filter((effect) => effect === 'abandon').length, 1);
      waits.push(waited);
    }
    assert.deepEqual(waits, [0, 10, 60, 300]);
  });

  it('starts with a short delay for another kind of failure', () => {
    const story = enrolling();
    for (let tries = 0; tries < 6; tries += 1) {
      story.on(failed({ code: 'API_UNREACHABLE', message: 'away' }));
      story.after(10 * minute);
    }
    story.on(progress('pending'));
    assert.equal(story.state.lastFailure, undefined);
    story.on(failed({ code: 'CSR_DENIED', message: 'no' }, false));
    assert.ok((story.wake ?? 0) < 2.2 * hour, `the next try is ${story.wake} ms away`);
    story.after(2.2 * hour);
    story.on(progress('pending'));
    story.on(failed({ code: 'CSR_DENIED', message: 'no' }, false));
    assert.ok((story.wake ?? 0) > 3.7 * hour, 'a second denial waits longer');
  });

  it('sends no reminder once the certificate is issued', () => {
    const story = enrolling();
    story.on(progress('issued'));
    assert.deepEqual(story.after(hour), []);
  });
});

describe('step() after a failure', () => {
  it('retries with the same key and CSR after the API server was unreachable', () => {
    const story = enrolling();
    story.on(progress('pending'));
    assert.deepEqual(story.after(minute - 1, failed(failure('API_UNREACHABLE'))), []);
    assert.deepEqual(
      story.state.phase.kind === 'backing-off' && story.state.phase.template,
      template,
    );
    assert.deepEqual(story.state.phase.kind === 'backing-off' && story.state.phase.csr, csr);
    assert.equal(story.wake, 2 * second);
    assert.deepEqual(story.after(2 * second - 1), []);
    assert.deepEqual(story.after(1), ['enroll no-pair']);
    assert.deepEqual(
      story.state.phase.kind === 'enrolling' && story.state.phase.template,
      template,
    );
  });

  it('doubles its delays, and reports the number of failures on recovery', () => {
    const story = enrolling();
    for (const delay of [2, 4, 8, 16]) {
      story.on(failed(failure('API_SERVER_ERROR')));
      assert.equal(story.wake, delay * second);
      assert.deepEqual(story.after(delay * second), ['enroll no-pair']);
    }
    assert.deepEqual(story.on(stored(story.now)), ['recovered 4']);
    assert.equal(story.state.failures, 0);
    assert.equal(story.state.lastFailure, undefined);
  });

  for (const code of ['CSR_DENIED', 'CSR_FAILED'] as const) {
    it(`retries after two hours, not seconds, after ${code}`, () => {
      const story = enrolling();
      story.on(failed(failure(code), false));
      assert.equal(story.wake, 2 * hour);
      assert.deepEqual(story.after(2 * hour - 1), []);
      assert.deepEqual(story.after(1), ['enroll no-pair']);
    });
  }

  it('retries after a minute if the CSR was deleted', () => {
    const story = enrolling();
    story.on(failed(failure('CSR_DELETED'), false));
    assert.equal(story.wake, minute);
  });

  it('drops template and CSR if the enroller and its key are lost', () => {
    const story = enrolling();
    story.on(progress('pending'));
    story.on(failed(failure('ENROLLER_LOST'), false));
    assert.deepEqual(Object.keys(story.state.phase).sort(), ['delay', 'kind', 'retry', 'since']);
    assert.equal(story.wake, 5 * second);
  });

  it('waits for Retry-After', () => {
    const story = enrolling();
    story.on(failed(failure('API_THROTTLED', 10 * minute)));
    assert.ok(story.wake >= 10 * minute && story.wake <= 20 * minute);
  });

  it('repeats an inspection that failed', () => {
    const story = new Story();
    story.on(wanting(template));
    story.on({ type: 'inspection-failed', failure: failure('STORE_IO') });
    assert.equal(story.phase, 'backing-off');
    assert.deepEqual(story.after(2 * second), ['inspect']);
    assert.equal(story.phase, 'inspecting');
    assert.deepEqual(story.on(inspected(pairFor(template))), ['recovered 1']);
  });

  it('retries at once when a missing credential appears', () => {
    const story = enrolling();
    story.on(failed(failure('KUBECONFIG_MISSING'), false));
    assert.deepEqual(story.after(second, { type: 'credential-changed' }), ['enroll no-pair']);
  });

  it('does not retry a denied request when a credential changes', () => {
    const story = enrolling();
    story.on(failed(failure('CSR_DENIED'), false));
    assert.deepEqual(story.after(second, { type: 'credential-changed' }), []);
    assert.equal(story.wake, 2 * hour - second);
  });

  it('abandons the CSR if another program stored a good pair', () => {
    const story = enrolling();
    story.on(failed(failure('API_UNREACHABLE')));
    assert.deepEqual(story.on({ type: 'files-changed' }), ['inspect']);
    story.on(inspected(pairFor(template)));
    assert.deepEqual(story.after(2 * second), ['abandon', 'recovered 1']);
    assert.deepEqual(story.after(second), []);
  });

  it('keeps the CSR while the addresses are unknown, even after the delay', () => {
    const story = enrolling();
    story.on(failed(failure('API_UNREACHABLE')));
    story.on(wanting());
    assert.deepEqual(story.after(hour), []);
    assert.equal(story.phase, 'backing-off');
    assert.equal(story.wake, Infinity);
    assert.deepEqual(story.on(wanting(template)), ['enroll no-pair']);
  });
});

describe('step() when files change on disk', () => {
  it('takes a stored pair that an inspection found first for no predecessor of itself', () => {
    const story = idle();
    story.after(deadline - start);
    story.on(progress('issued'));
    const { now } = story;
    const report = {
      type: 'stored',
      pair: pairFor(template, { serial: 'b', notBefore: now, notAfter: now + hour }),
    } as const;
    story.on({ type: 'files-changed' });
    story.on({ type: 'inspected', pair: report.pair });
    story.on(report);
    // Without a CA near its end, the deadline is 80 % of the lifetime.
    assert.equal(story.state.deadline, now + 0.8 * hour);
    assert.equal(story.state.rotations, 1);
  });

  it('knows the predecessor of a stored pair that an inspection found first', () => {
    const story = idle();
    story.after(deadline - start);
    story.on(progress('issued'));
    const { now } = story;
    // The CA is near its end, so the new pair ends when its predecessor does.
    const pair = pairFor(template, { serial: 'b', notBefore: now, notAfter: start + hour });
    story.on({ type: 'files-changed' });
    story.on({ type: 'inspected', pair });
    story.on({ type: 'stored', pair });
    assert.equal(story.state.deadline, now + 55 * minute);
  });

  it('inspects, and requests if the pair is gone', () => {
    const story = idle();
    assert.deepEqual(story.on({ type: 'files-changed' }), ['inspect']);
    assert.equal(story.phase, 'inspecting');
    assert.deepEqual(story.on(inspected()), ['enroll no-pair']);
  });

  it('uses a pair that another program stored, with its own deadline', () => {
    const story = idle();
    story.on({ type: 'files-changed' });
    const other = pairFor(template, { serial: 'c', notAfter: start + day });
    assert.deepEqual(story.on(inspected(other, start + 17 * hour)), []);
    assert.equal(story.wake, 17 * hour);
  });
});

describe('step() between two rotations', () => {
  it('waits at least ten seconds while the pair is valid', () => {
    const story = enrolling();
    story.on(stored(start));
    assert.deepEqual(story.after(second, wanting(twoAddresses)), []);
    assert.equal(story.wake, minimumRotationInterval - second);
    assert.deepEqual(story.after(minimumRotationInterval - second), ['enroll ip-address-missing']);
  });

  it('does not wait if the pair was removed', () => {
    const story = enrolling();
    story.on(stored(start));
    story.on({ type: 'files-changed' });
    assert.deepEqual(story.after(second, inspected()), ['enroll no-pair']);
  });

  it('does not request every second even if certificates are due when issued', () => {
    const story = enrolling();
    let requests = 1;
    for (let elapsed = 0; elapsed < 10 * minute; elapsed += second) {
      const { now } = story;
      if (story.phase === 'enrolling') story.on({ ...stored(now), due: now });
      requests += story.after(second).filter((effect) => effect.startsWith('enroll')).length;
    }
    assert.ok(requests <= 61, `${requests} requests`);
  });
});

describe('step() after a clock jump', () => {
  it('keeps the pair if the clock is set back by years', () => {
    const story = idle();
    assert.deepEqual(story.after(-3 * 365 * day), []);
    assert.equal(story.phase, 'idle');
    // Only a request to the API server, whose clock decides.
    assert.equal(story.wake, 11 * minute);
  });

  it('requests at the first tick after the clock passed the expiry', () => {
    assert.deepEqual(idle().after(10 * 365 * day), ['enroll expired']);
  });

  it('restarts a delay if the clock is set back', () => {
    const story = enrolling();
    story.on(failed(failure('API_UNREACHABLE')));
    assert.deepEqual(story.after(-3 * 365 * day), []);
    assert.equal(story.wake, 2 * second);
    assert.deepEqual(story.after(2 * second), ['enroll no-pair']);
  });

  it('requests at once if the clock is set back to before the start', () => {
    const story = enrolling();
    story.on(failed(failure('API_UNREACHABLE')));
    assert.deepEqual(story.after(-50 * minute), []);
    assert.equal(story.wake, 2 * second);
    assert.deepEqual(story.after(2 * second), ['enroll no-pair']);
  });

  for (const code of ['CERT_EXPIRED', 'CREDENTIAL_EXPIRED', 'API_UNTRUSTED'] as const) {
    it(`retries at once if the clock was ahead and the failure was ${code}`, () => {
      const story = enrolling();
      story.on(failed(failure(code)));
      assert.deepEqual(story.after(-day), ['enroll no-pair']);
    });
  }

  it('keeps a pair that only seemed due while the clock was ahead', () => {
    const story = idle();
    assert.deepEqual(story.after(10 * day), ['enroll expired']);
    story.on(failed(failure('CERT_EXPIRED'), false));
    assert.deepEqual(story.after(-10 * day), ['recovered 1']);
    assert.equal(story.phase, 'idle');
  });

  it('does not count a pair from the future as just stored', () => {
    const story = enrolling();
    story.on(stored(start));
    story.now -= day;
    assert.deepEqual(story.on(wanting(twoAddresses)), ['inspect']);
    assert.deepEqual(story.on(inspected(pairFor(template))), ['enroll ip-address-missing']);
  });
});

describe('step() with a pair that is not valid yet', () => {
  it('waits, then checks the server clock at a random moment', () => {
    const story = idle(future);
    assert.equal(story.wake, 11 * minute);
    assert.deepEqual(story.after(11 * minute - 1), []);
    assert.deepEqual(story.after(1), ['enroll not-yet-valid']);
    const moments = [0, 0.999].map((random) => {
      const context = { now: start, random, window: kubeletWindow, fraction: () => 0.5 };
      const { state } = step(idle(future).state, { type: 'tick' }, context);
      return state.checkServerClockAt;
    });
    // Chosen once: later ticks do not move it.
    assert.deepEqual(moments, [start + 11 * minute, start + 11 * minute]);
    const planned = [0, 0.999].map((random) => {
      const { state } = step(idle().state, inspected(future), {
        now: start,
        random,
        window: kubeletWindow,
        fraction: () => 0.5,
      });
      return state.checkServerClockAt;
    });
    assert.deepEqual(planned, [start + minute, start + minute + 0.999 * 20 * minute]);
  });

  it('checks nothing once the clock is right', () => {
    const story = idle(future);
    story.on(inspected(future, start + 1.8 * day));
    assert.deepEqual(story.after(2 * minute), []);
    assert.deepEqual(story.after(day), []);
    assert.equal(story.state.checkServerClockAt, undefined);
    assert.deepEqual(story.after(hour), []);
  });

  it('checks after the clock is set back, and again after a failure', () => {
    const story = idle(pairFor(template, { notBefore: start - minute, notAfter: start + day }));
    story.now -= 5 * day;
    story.on({ type: 'tick' });
    assert.deepEqual(story.after(11 * minute), ['enroll not-yet-valid']);
    assert.deepEqual(story.on(failed(failure('CERT_NOT_YET_VALID', 5 * minute), false)), []);
    assert.deepEqual(story.after(7.5 * minute - 1), []);
    assert.deepEqual(story.after(1), ['enroll not-yet-valid']);
    story.on(failed(failure('CERT_NOT_YET_VALID', 5 * minute), false));
    assert.deepEqual(story.after(5 * day), ['recovered 2']);
  });

  it('does not postpone the check if the clock is set back again', () => {
    const story = idle(future);
    story.now -= 300 * day;
    story.on({ type: 'tick' });
    assert.equal(story.wake, 21 * minute);
  });

  it('plans the check only with a client certificate', () => {
    const story = idle(future);
    story.on(inspected(future, start + 1.8 * day));
    story.on({ type: 'identity', ready: false });
    assert.deepEqual([story.state.checkServerClockAt, story.wake > day], [undefined, true]);
    assert.deepEqual(story.after(hour, { type: 'identity', ready: true }), []);
    assert.equal(story.wake, 11 * minute);
  });

  it('tolerates a notBefore within the skew leeway', () => {
    const story = idle(pairFor(template, { notBefore: start + minute, notAfter: start + day }));
    assert.equal(story.state.checkServerClockAt, undefined);
  });
});

describe('step() with a pair that was stored while the clock was ahead', () => {
  it('inspects the pair when the clock is set back, and drops the late deadline', () => {
    const story = enrolling();
    story.now += day;
    story.on(stored(story.now));
    const late = story.state.deadline ?? 0;
    story.now -= day;
    const pair = pairFor(template, { serial: 'b', notBefore: start, notAfter: start + 2 * day });
    assert.deepEqual(story.on({ type: 'tick' }), ['inspect']);
    assert.deepEqual(story.on(inspected(pair, start + hour)), []);
    assert.equal(story.state.deadline, start + hour);
    assert.ok(late > start + hour);
    assert.deepEqual(story.after(hour), ['enroll deadline']);
  });

  it('keeps the deadline if the clock is set back to a moment after it', () => {
    const story = enrolling();
    story.on(stored(story.now));
    const { deadline } = story.state;
    story.now += hour / 2;
    story.on({ type: 'files-changed' });
    story.now -= hour / 4;
    assert.deepEqual(story.on({ type: 'tick' }), []);
    assert.equal(story.state.deadline, deadline);
  });
});

describe('step() after a rollback', () => {
  const left = 90 * day;
  const earlier = pairFor(template, { serial: 'a', notAfter: start + left });
  const rolledBack = (changes: object = {}): Event => ({
    type: 'rolled-back',
    pair: earlier,
    due: start - minute,
    failure: failure('SERVED_STALE'),
    count: 1,
    ...changes,
  });

  it('does not request at once though the pair is due, and shows why', () => {
    const story = renewed();
    assert.deepEqual(story.on(rolledBack()), []);
    assert.equal(story.state.pair, earlier);
    assert.equal(story.phase, 'backing-off');
    assert.equal(story.state.lastFailure?.code, 'SERVED_STALE');
    assert.equal(story.wake, 2 * hour);
    assert.deepEqual(story.after(2 * hour - 1), []);
    assert.deepEqual(story.after(1), ['enroll deadline']);
  });

  it('waits longer after each rollback, as after a denial', () => {
    const waits = [1, 2, 3, 4, 9].map((count) => {
      const story = renewed();
      story.on(rolledBack({ count }));
      return story.wake / hour;
    });
    assert.deepEqual(waits, [2, 4, 8, 12, 12]);
  });

  it('requests before the previous pair expires', () => {
    const story = renewed();
    const pair = { ...earlier, notAfter: story.now + hour };
    story.on(rolledBack({ pair }));
    assert.equal(story.wake, 45 * minute);
  });

  it('continues the wait of an earlier run, by the present clock', () => {
    for (const [until, wait] of [
      [start + 3 * hour, 3 * hour],
      [start + 400 * day, 18 * hour],
    ] as const) {
      const story = new Story();
      story.on(wanting(template));
      assert.deepEqual(story.on(rolledBack({ until })), []);
      assert.equal(story.wake, wait);
    }
    const late = new Story();
    late.on(wanting(template));
    assert.deepEqual(late.on(rolledBack({ until: start - day })), ['enroll deadline']);
  });

  it('inspects the directory during the wait without a request', () => {
    const story = renewed();
    story.on(rolledBack());
    assert.deepEqual(story.after(minute, { type: 'files-changed' }), ['inspect']);
    assert.deepEqual(story.on(inspected(earlier, start - minute)), []);
    assert.equal(story.phase, 'backing-off');
  });

  it('requests nothing that the kubelet rotates', () => {
    const story = renewed();
    story.on({ type: 'inspected', pair: earlier, observed: true });
    assert.deepEqual(story.on(rolledBack()), []);
    assert.equal(story.phase, 'idle');
    assert.deepEqual(story.after(day), []);
  });

  it('requests at once on renew', () => {
    const story = renewed();
    story.on(rolledBack());
    assert.deepEqual(story.on({ type: 'renew' }), ['enroll renewal']);
  });

  it('keeps a request in progress, or one with a planned retry', () => {
    const story = idle();
    story.after(deadline - start);
    story.on(progress('pending'));
    assert.deepEqual(story.on(rolledBack()), []);
    assert.equal(story.phase, 'enrolling');
    story.on(failed(failure('STORE_FULL'), true));
    const { phase } = story.state;
    story.on(rolledBack());
    assert.equal(story.state.phase, phase);
  });

  it('waits with the previous pair if it is not due', () => {
    const story = renewed();
    story.on(rolledBack({ due: start + day }));
    assert.deepEqual(story.after(2 * hour), ['recovered 1']);
    assert.equal(story.phase, 'idle');
  });

  it('requests after the wait and before the expiry, after any number of rollbacks', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: minimumTimeLeftForRollback, max: 400 * day }),
        fc.integer({ min: 1, max: 20 }),
        (left, count) => {
          const story = renewed();
          const pair = { ...earlier, notAfter: story.now + left };
          story.on(rolledBack({ pair, count }));
          const least = Math.min(2 * hour, Math.floor(left * 0.75));
          const { now } = story;
          while (story.phase !== 'enrolling' && story.now < pair.notAfter) story.after(story.wake);
          const at = story.now - now;
          assert.ok(at >= least, `requested after ${at} ms with ${left} ms left`);
          assert.ok(at < left, `requested ${at - left} ms after the expiry`);
        },
      ),
    );
  });
});

describe('step() on renew', () => {
  const renew: RotationEvent = { type: 'renew' };

  it('requests at once, and only once, even if the pair is not due', () => {
    const story = idle();
    assert.deepEqual(story.on(renew), ['enroll renewal']);
    assert.deepEqual(story.after(minute), []);
    assert.deepEqual(story.on(renew), []);
    story.on(stored(story.now));
    assert.equal(story.state.renewalAt, undefined);
    assert.deepEqual(story.after(minute), []);
  });

  it('uses a request in progress', () => {
    const story = enrolling();
    story.on(progress('pending'));
    assert.deepEqual(story.on(renew), []);
    assert.equal(story.phase, 'enrolling');
    story.on(stored(story.now));
    assert.deepEqual(story.after(minute), []);
  });

  it('skips every delay, also after a denial or unfinished requests', () => {
    const story = enrolling();
    story.on(failed(failure('CSR_DENIED'), false));
    assert.deepEqual(story.on(renew), ['enroll no-pair']);
    const delayed = new Story({ delay: hour });
    delayed.on(wanting(template));
    delayed.on(inspected(pairFor(template)));
    assert.deepEqual(delayed.on(renew), ['enroll renewal']);
  });

  it('retries after a failure, with the usual delays', () => {
    const story = idle();
    story.on(renew);
    story.on(failed(failure('API_UNREACHABLE'), false));
    assert.deepEqual(story.after(second), []);
    assert.deepEqual(story.after(second), ['enroll renewal']);
  });

  it('waits for addresses and identity', () => {
    const story = idle();
    story.on({ type: 'identity', ready: false });
    assert.deepEqual(story.on(renew), []);
    assert.deepEqual(story.on({ type: 'identity', ready: true }), ['enroll renewal']);
  });

  it('ignores the minimum time between two rotations', () => {
    const story = enrolling();
    story.on(stored(story.now));
    assert.deepEqual(story.on(renew), ['enroll renewal']);
    story.on({ ...stored(story.now), due: story.now });
    assert.deepEqual(story.after(second), []);
    assert.equal(story.wake, minimumRotationInterval - second);
  });
});

const behind = (serial?: string): RotationEvent =>
  serial === undefined ? { type: 'behind' } : { type: 'behind', serial };

describe('step() with a pair that the CA of the signer did not issue', () => {
  it('requests one certificate, and none for the next pair', () => {
    const story = idle();
    assert.deepEqual(story.on(behind(story.state.pair?.serial)), ['enroll issuer-behind']);
    assert.deepEqual(story.after(minute), []);
    story.on(stored(story.now));
    assert.deepEqual(story.after(minute), []);
    assert.equal(story.phase, 'idle');
  });

  it('uses a request in progress, and keeps the delay after a failure', () => {
    const story = idle();
    story.on({ type: 'renew' });
    story.on(progress('pending'));
    assert.deepEqual(story.on(behind(story.state.pair?.serial)), []);
    story.on(failed(failure('CERT_UNTRUSTED'), false));
    assert.deepEqual(story.on(behind(story.state.pair?.serial)), []);
    assert.deepEqual(story.after(hour / 2), []);
    assert.equal(story.phase, 'backing-off');
  });

  it('waits for unfinished requests', () => {
    const delayed = new Story({ delay: 15 * minute });
    delayed.on(wanting(template));
    delayed.on(inspected(pairFor(template)));
    assert.deepEqual(delayed.on(behind(delayed.state.pair?.serial)), []);
    assert.equal(delayed.wake, 15 * minute);
    assert.deepEqual(delayed.after(15 * minute), ['enroll issuer-behind']);
  });

  it('requests nothing for another pair, or once the signer uses the old CA again', () => {
    const story = idle();
    assert.deepEqual(story.on(behind('another')), []);
    story.on({ type: 'identity', ready: false });
    story.on(behind(story.state.pair?.serial));
    story.on(behind());
    assert.deepEqual(story.on({ type: 'identity', ready: true }), []);
  });
});

const seen = (pair?: PairFacts): RotationEvent =>
  ({ ...inspected(pair), observed: true }) as RotationEvent;

describe('step() with a pair that the kubelet rotates', () => {
  it('requests nothing: without pair, past deadline or expiry, or on renew', () => {
    const story = new Story();
    story.on(wanting(template));
    assert.deepEqual(story.on(seen()), []);
    assert.deepEqual(story.on({ type: 'renew' }), []);
    assert.deepEqual(story.after(minute), []);
    assert.deepEqual(story.on(seen(pairFor(template))), []);
    assert.deepEqual(story.after(0.9 * hour), []);
    assert.deepEqual(story.after(day), []);
    assert.equal(story.phase, 'idle');
  });

  it('abandons a request in progress, or one with a planned retry', () => {
    const story = enrolling();
    story.on(progress('pending'));
    assert.deepEqual(story.on(seen(pairFor(template))), ['abandon']);
    assert.equal(story.phase, 'idle');
    const waiting = enrolling();
    waiting.on(progress('pending'));
    waiting.on(failed(failure('API_UNREACHABLE'), true));
    assert.deepEqual(waiting.on(seen(pairFor(template))), ['abandon', 'recovered 1']);
    const nothingHeld = enrolling();
    nothingHeld.on(failed(failure('CSR_DENIED'), false));
    assert.deepEqual(nothingHeld.on(seen(pairFor(template))), ['recovered 1']);
  });

  it('rotates again when the kubelet does not', () => {
    const story = new Story();
    story.on(wanting(template));
    story.on(seen(pairFor(template)));
    story.now += 0.85 * hour;
    assert.deepEqual(story.on(inspected(pairFor(template))), ['enroll deadline']);
  });
});
