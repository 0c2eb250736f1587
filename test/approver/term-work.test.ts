import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Source } from '../../src/approver/facts.ts';
import type { FinalDecision } from '../../src/approver/recorder.ts';
import type { TermStatus } from '../../src/approver/term-work.ts';
import { TermWork } from '../../src/approver/term-work.ts';
import { defaultApproverPolicy } from '../../src/core/approver-policy.ts';
import type { ApproverPolicy } from '../../src/core/approver-policy.ts';
import type { ErrorDetails, Failure } from '../../src/core/errors.ts';
import { AgentError } from '../../src/core/errors.ts';
import { hour, minute, second } from '../../src/core/instant.ts';
import { approverAnnotation, approverNote } from '../../src/kube/approver-note.ts';
import { FakeApi } from './fake-api.ts';

/** The term of a leader, on an API server in memory. */
class Scene implements AsyncDisposable {
  readonly api = new FakeApi();
  readonly decided: string[] = [];
  readonly held: string[] = [];
  readonly refused: string[] = [];
  readonly forbidden: string[] = [];
  readonly failures: Failure[] = [];
  readonly recovered: string[] = [];
  leading = true;
  policy: ApproverPolicy = defaultApproverPolicy;
  readonly sources: Source[] = [];
  readonly #stop = new AbortController();
  #work: TermWork | undefined;
  #run: Promise<void> = Promise.resolve();

  /** Starts the term, and lets the workers finish what they can do at once. */
  async start(): Promise<void> {
    this.#work = new TermWork({
      environment: this.api.environment,
      policy: () => this.policy,
      sources: () => this.sources,
      sourcesSettled: Promise.resolve(),
      controlPlaneEndpoint: undefined,
      serverNow: () => this.api.clock.now(),
      term: { isLeading: () => this.leading },
      observer: {
        decided: (csr, { outcome }: FinalDecision) => this.decided.push(`${outcome} ${csr.name}`),
        held: (csr, { code }) => this.held.push(`${csr.name} ${code}`),
        ignored: () => undefined,
        refused: (csr) => this.refused.push(csr.name),
        forbidden: (csr) => this.forbidden.push(csr.name),
        retrying: (_, failure) => this.failures.push(failure),
        recovered: (what) => this.recovered.push(what),
      },
    });
    this.#run = this.#work.run(this.#stop.signal);
    await this.pass(0);
  }

  async pass(ms: number): Promise<void> {
    await this.api.clock.advance(ms);
  }

  get status(): TermStatus {
    assert.ok(this.#work);
    return this.#work.status();
  }

  evaluateAll(): void {
    this.#work?.evaluateAll();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#run;
  }
}

/** Faults for requests that begin with `what`, as long as the test wants. */
function faultFor(
  what: string,
  code: AgentError['code'],
  details: ErrorDetails = {},
): (request: string) => AgentError | undefined {
  return (request) => (request.startsWith(what) ? new AgentError(code, code, details) : undefined);
}

describe('TermWork', () => {
  it('records a decision with one request', async () => {
    await using scene = new Scene();
    scene.api.addNode('n1');
    scene.api.addCsr('csr-1', 'n1');
    await scene.start();
    assert.deepEqual(scene.decided, ['approve csr-1']);
    assert.deepEqual(scene.api.about('csr-1'), ['update csr-1']);
    await scene.pass(10 * minute);
    assert.deepEqual(scene.api.about('csr-1'), ['update csr-1']);
    assert.equal(scene.status.pending.size, 0);
  });

  it('sends nothing before every copy is complete', async () => {
    await using scene = new Scene();
    scene.api.addNode('n1');
    scene.api.addCsr('csr-1', 'n1');
    scene.api.fault = faultFor('watch servicecidrs', 'API_SERVER_ERROR');
    await scene.start();
    await scene.pass(minute);
    assert.deepEqual(scene.api.about('csr-1'), []);
    assert.deepEqual(scene.status.pending, new Map([['Queued', 1]]));
    const unread = [...scene.status.unread].map(([resource, { code }]) => `${resource} ${code}`);
    assert.deepEqual(unread, ['servicecidrs API_SERVER_ERROR']);
    scene.api.fault = () => undefined;
    await scene.pass(minute);
    assert.deepEqual(scene.decided, ['approve csr-1']);
    assert.deepEqual([...scene.status.unread], []);
  });

  it('sends nothing while a watch fails, because the facts may be outdated', async () => {
    await using scene = new Scene();
    scene.api.addNode('n1');
    await scene.start();
    scene.api.fault = faultFor('watch nodes', 'API_SERVER_ERROR');
    scene.api.endWatches('nodes');
    await scene.pass(second);
    scene.api.addNode('n1', { status: { addresses: [{ type: 'Hostname', address: 'other' }] } });
    scene.api.addCsr('csr-1', 'n1');
    await scene.pass(20 * second);
    assert.deepEqual(scene.api.about('csr-1'), []);
    scene.api.fault = () => undefined;
    await scene.pass(30 * second);
    assert.deepEqual(scene.held, ['csr-1 SANNotOwned']);
    scene.api.addNode('n1');
    await scene.pass(0);
    assert.deepEqual(scene.decided, ['approve csr-1']);
  });

  it('works with an API server that has no ServiceCIDRs', async () => {
    await using scene = new Scene();
    scene.api.addNode('n1');
    scene.api.addCsr('csr-1', 'n1');
    scene.api.fault = faultFor('watch servicecidrs', 'API_NOT_FOUND');
    await scene.start();
    assert.deepEqual([scene.decided, scene.failures], [['approve csr-1'], []]);
  });

  it('sends nothing once the term is over', async () => {
    await using scene = new Scene();
    scene.api.addNode('n1');
    scene.leading = false;
    scene.api.addCsr('csr-1', 'n1');
    await scene.start();
    await scene.pass(second);
    assert.deepEqual(scene.api.about('csr-1'), []);
  });

  it('waits for the end of the term once it no longer leads, also without a rate limit', async () => {
    await using scene = new Scene();
    scene.policy = { ...defaultApproverPolicy, maxDecisionsPerSecond: 0 };
    scene.api.addNode('n1');
    scene.api.addCsr('csr-1', 'n1');
    scene.leading = false;
    await scene.start();
    await scene.pass(minute);
    assert.deepEqual(scene.api.about('csr-1'), []);
    scene.leading = true;
    await scene.pass(2 * second);
    assert.deepEqual(scene.decided, ['approve csr-1']);
  });

  it('reads the CSR once after a conflict, and keeps the decision that it finds', async () => {
    await using scene = new Scene();
    scene.api.addCsr('csr-1', 'n1');
    await scene.start();
    scene.api.decide('csr-1', 'Denied', 'silently');
    scene.api.addNode('n1');
    await scene.pass(minute);
    assert.deepEqual(scene.api.about('csr-1'), ['update csr-1', 'get csr-1']);
    assert.deepEqual(scene.api.conditions('csr-1'), ['Denied']);
    assert.deepEqual([scene.refused, scene.decided], [['csr-1'], []]);
  });

  it('sends one decision for each version of a CSR that the API server refuses', async () => {
    await using scene = new Scene();
    scene.api.addNode('n1');
    scene.api.addCsr('csr-1', 'n1');
    scene.api.fault = faultFor('update', 'API_BAD_REQUEST');
    await scene.start();
    await scene.pass(9 * minute);
    assert.deepEqual(scene.api.about('csr-1'), ['update csr-1', 'get csr-1']);
    scene.api.fault = () => undefined;
    scene.api.decide('csr-1', 'example.com/Seen');
    await scene.pass(0);
    assert.deepEqual(scene.decided, ['approve csr-1']);
  });

  it('forgets a CSR that is gone', async () => {
    await using scene = new Scene();
    scene.api.addCsr('csr-1', 'n1');
    await scene.start();
    scene.api.delete('csr-1', 'silently');
    scene.api.addNode('n1');
    await scene.pass(minute);
    assert.deepEqual(scene.api.about('csr-1'), ['update csr-1']);
    assert.equal(scene.status.pending.size, 0);
  });

  it('reads the CSR before it tries again after a failure of unknown outcome', async () => {
    await using scene = new Scene();
    scene.api.addNode('n1');
    scene.api.addCsr('csr-1', 'n1');
    let failures = 2;
    scene.api.fault = (what) => {
      failures -= Number(what.startsWith('update'));
      return what.startsWith('update') && failures >= 0
        ? new AgentError('API_SERVER_ERROR', '500')
        : undefined;
    };
    await scene.start();
    await scene.pass(minute);
    assert.deepEqual(scene.api.about('csr-1'), [
      'update csr-1',
      'get csr-1',
      'update csr-1',
      'get csr-1',
      'update csr-1',
    ]);
    assert.deepEqual(scene.decided, ['approve csr-1']);
    assert.deepEqual(scene.recovered, ['decisions']);
  });

  it('waits as long as Retry-After says, with all CSRs together', async () => {
    await using scene = new Scene();
    for (let at = 0; at < 100; at += 1) {
      scene.api.addNode(`n${at}`);
      scene.api.addCsr(`csr-${at}`, `n${at}`);
    }
    scene.api.fault = faultFor('update', 'API_THROTTLED', { retryAfterMs: 7 * second });
    await scene.start();
    const first = scene.api.seen.length;
    assert.ok(first <= 16, `${first} requests`);
    await scene.pass(7 * second - 1);
    assert.equal(scene.api.seen.length, first);
    await scene.pass(minute);
    assert.ok(scene.api.seen.length <= first + 60, `${scene.api.seen.length} requests`);
    scene.api.fault = () => undefined;
    await scene.pass(minute);
    assert.equal(scene.decided.length, 100);
  });

  it('sends at most one request per second while the API server fails', async () => {
    await using scene = new Scene();
    for (let at = 0; at < 100; at += 1) {
      scene.api.addNode(`n${at}`);
      scene.api.addCsr(`csr-${at}`, `n${at}`);
    }
    scene.api.fault = faultFor('', 'API_UNREACHABLE');
    await scene.start();
    scene.api.fault = (what) =>
      what.startsWith('watch') ? undefined : new AgentError('API_SERVER_ERROR', '500');
    await scene.pass(minute);
    assert.ok(scene.api.seen.length <= 60 + 16, `${scene.api.seen.length} requests`);
    scene.api.fault = () => undefined;
    await scene.pass(2 * minute);
    assert.equal(scene.decided.length, 100);
  });

  it('sends few decisions while only they fail, although reads succeed', async () => {
    await using scene = new Scene();
    for (let at = 0; at < 16; at += 1) {
      scene.api.addNode(`n${at}`);
      scene.api.addCsr(`csr-${at}`, `n${at}`);
    }
    scene.api.fault = faultFor('update', 'API_SERVER_ERROR');
    await scene.start();
    await scene.pass(minute);
    const decisions = scene.api.seen.filter(({ what }) => what.startsWith('update')).length;
    // One from each worker, and then one at 1, 3, 7, 15, 31 and 51 s.
    assert.equal(decisions, 16 + 6);
    // Before each further decision about a CSR, a read finds out whether the last one was stored.
    assert.ok(scene.api.seen.length <= 2 * decisions, `${scene.api.seen.length} requests`);
    scene.api.fault = () => undefined;
    await scene.pass(2 * minute);
    assert.equal(scene.decided.length, 16);
  });

  it('names a missing permission once, and tries again every half minute', async () => {
    await using scene = new Scene();
    for (const name of ['1', '2']) {
      scene.api.addNode(`n${name}`);
      scene.api.addCsr(`csr-${name}`, `n${name}`);
    }
    scene.api.fault = faultFor('update', 'API_FORBIDDEN');
    await scene.start();
    await scene.pass(5 * minute);
    assert.equal(scene.forbidden.length, 1);
    assert.equal(scene.status.forbidden?.code, 'API_FORBIDDEN');
    assert.ok(scene.api.seen.length < 2 + 25, `${scene.api.seen.length} requests`);
    scene.api.fault = () => undefined;
    await scene.pass(minute);
    assert.equal(scene.decided.length, 2);
    assert.equal(scene.status.forbidden, undefined);
  });

  it('delays no CSR that needs no missing permission, and all others until the grant', async () => {
    await using scene = new Scene();
    for (let at = 0; at < 100; at += 1) scene.api.addCsr(`early-${at}`, `early-${at}`);
    scene.api.fault = faultFor('get early', 'API_FORBIDDEN');
    await scene.start();
    await scene.pass(second);
    for (let at = 0; at < 20; at += 1) {
      scene.api.addNode(`n${at}`);
      scene.api.addCsr(`csr-${at}`, `n${at}`);
    }
    await scene.pass(0);
    assert.equal(scene.decided.length, 20);
    assert.deepEqual([scene.forbidden.length, scene.held], [1, []]);
    await scene.pass(10 * minute);
    const sent = scene.api.seen.filter(({ what }) => what.startsWith('get'));
    assert.ok(sent.length <= 16 + 60, `${sent.length} requests`);
    scene.api.fault = () => undefined;
    await scene.pass(30 * second);
    assert.equal(scene.held.length, 100);
    assert.equal(scene.status.forbidden, undefined);
  });

  it('keeps a missing permission while other requests are allowed, with one Event', async () => {
    await using scene = new Scene();
    scene.api.addCsr('csr-0', 'n0');
    scene.api.fault = faultFor('get n0', 'API_FORBIDDEN');
    await scene.start();
    for (let at = 1; at <= 20; at += 1) {
      scene.api.addNode(`n${at}`);
      scene.api.addCsr(`csr-${at}`, `n${at}`);
      await scene.pass(30 * second);
      assert.equal(scene.status.forbidden?.code, 'API_FORBIDDEN');
    }
    assert.equal(scene.decided.length, 20);
    assert.deepEqual([scene.forbidden, scene.recovered], [['csr-0'], []]);
  });

  it('forgets a missing permission once no CSR needs it', async () => {
    await using scene = new Scene();
    scene.api.addCsr('csr-1', 'n1');
    scene.api.fault = faultFor('get n1', 'API_FORBIDDEN');
    await scene.start();
    assert.equal(scene.status.forbidden?.code, 'API_FORBIDDEN');
    scene.api.addNode('n1');
    await scene.pass(minute);
    assert.deepEqual(scene.decided, ['approve csr-1']);
    assert.equal(scene.status.forbidden, undefined);
  });

  it('goes on within half a minute of the grant, after hours without the permission', async () => {
    for (const request of ['update csr-1', 'get n1']) {
      await using scene = new Scene();
      scene.api.random = 0.999;
      scene.api.addCsr('csr-1', 'n1');
      if (request === 'update csr-1') scene.api.addNode('n1');
      scene.api.fault = faultFor(request, 'API_FORBIDDEN');
      await scene.start();
      await scene.pass(3 * hour);
      scene.api.fault = () => undefined;
      await scene.pass(30 * second);
      assert.equal(scene.status.forbidden, undefined, request);
      const done = request === 'get n1' ? ['csr-1 NodeNotFound'] : ['approve csr-1'];
      assert.deepEqual([...scene.held, ...scene.decided], done, request);
    }
  });

  it('confirms a missing Node with one GET, and evaluates again when the Node appears', async () => {
    await using scene = new Scene();
    scene.api.addCsr('csr-1', 'n1');
    await scene.start();
    await scene.pass(9 * minute);
    assert.deepEqual(scene.api.about('n1'), ['get n1']);
    assert.deepEqual(scene.held, ['csr-1 NodeNotFound']);
    scene.api.addNode('n1');
    await scene.pass(0);
    assert.deepEqual(scene.decided, ['approve csr-1']);
  });

  it('writes the reason of a hold into the CSR after a minute, once for each reason', async () => {
    await using scene = new Scene();
    scene.api.addCsr('csr-1', 'n1');
    await scene.start();
    await scene.pass(59 * second);
    assert.deepEqual(scene.api.about('csr-1'), []);
    await scene.pass(second);
    assert.deepEqual(scene.api.about('csr-1'), ['update csr-1']);
    await scene.pass(4 * minute);
    assert.deepEqual(scene.api.about('csr-1'), ['update csr-1']);
    const note = approverNote(scene.api.annotations('csr-1'));
    assert.deepEqual([note?.outcome, note?.reason], ['hold', 'NodeNotFound']);
    assert.deepEqual([scene.api.conditions('csr-1'), scene.held.length], [[], 1]);
    scene.api.addNode('n1', { status: { addresses: [] } });
    await scene.pass(4 * minute);
    assert.equal(approverNote(scene.api.annotations('csr-1'))?.reason, 'AddressesEmpty');
    scene.api.addNode('n1');
    await scene.pass(0);
    assert.deepEqual(scene.api.about('csr-1'), ['update csr-1', 'update csr-1', 'update csr-1']);
    assert.deepEqual([scene.decided, scene.refused], [['approve csr-1'], []]);
    assert.equal(approverNote(scene.api.annotations('csr-1')), undefined);
  });

  it('leaves the reason of a hold that an earlier leader wrote', async () => {
    await using scene = new Scene();
    const note = { outcome: 'hold', reason: 'NodeNotFound', message: 'm', remedy: 'r' };
    const annotations = { [approverAnnotation]: JSON.stringify(note) };
    scene.api.addCsr('csr-1', 'n1', { annotations });
    await scene.start();
    await scene.pass(hour);
    assert.deepEqual(scene.api.about('csr-1'), []);
  });

  it('writes no reason of a hold in the mode observe', async () => {
    await using scene = new Scene();
    scene.policy = { ...defaultApproverPolicy, mode: 'observe' };
    scene.api.addCsr('csr-1', 'n1');
    await scene.start();
    await scene.pass(hour);
    assert.deepEqual(scene.api.about('csr-1'), []);
  });

  it('writes at most one reason of a hold per second, after a burst', async () => {
    await using scene = new Scene();
    for (let at = 0; at < 100; at += 1) scene.api.addCsr(`csr-${at}`, `n${at}`);
    await scene.start();
    await scene.pass(10 * minute);
    const times = scene.api.seen.flatMap(({ what, at }) => (what.startsWith('update') ? [at] : []));
    const most = Math.max(
      ...times.map((time) => times.filter((at) => at >= time && at < time + second).length),
    );
    assert.ok(most <= 26, `${most} updates in a second`);
    await scene.pass(hour);
    assert.equal(scene.api.seen.filter(({ what }) => what.startsWith('update')).length, 100);
  });

  it('denies a mismatch after the grace period, confirmed by a GET of the Node', async () => {
    await using scene = new Scene();
    scene.api.addNode('n1', { status: { addresses: [{ type: 'Hostname', address: 'other' }] } });
    scene.api.addCsr('csr-1', 'n1');
    await scene.start();
    await scene.pass(59 * second);
    assert.deepEqual([scene.held, scene.decided], [['csr-1 SANNotOwned'], []]);
    await scene.pass(2 * second);
    assert.deepEqual(scene.decided, ['deny csr-1']);
    assert.deepEqual(scene.api.about('n1'), ['get n1']);
  });

  it('denies at most five superseded CSRs per second', async () => {
    await using scene = new Scene();
    scene.api.addNode('n1');
    for (let at = 0; at < 40; at += 1) scene.api.addCsr(`csr-${at}`, 'n1');
    await scene.start();
    assert.deepEqual(scene.decided, ['approve csr-39']);
    assert.equal(scene.held.length, 39);
    await scene.pass(16 * minute);
    const times = scene.api.seen.filter(({ what }) => what !== 'update csr-39').map(({ at }) => at);
    assert.equal(times.length, 39);
    for (const time of times) {
      const within = times.filter((one) => one >= time && one < time + second);
      assert.ok(within.length <= 10, `${within.length} denials`);
    }
  });

  it('keeps a denial as a hold in the mode approve-only', async () => {
    await using scene = new Scene();
    scene.policy = { ...defaultApproverPolicy, mode: 'approve-only', allowedDomains: ['b.c'] };
    scene.api.addNode('n1.example.com');
    scene.api.addCsr('csr-1', 'n1.example.com');
    await scene.start();
    assert.deepEqual([scene.held, scene.decided], [['csr-1 NameNotAllowed'], []]);
    assert.deepEqual(scene.api.about('csr-1'), []);
    scene.policy = { ...scene.policy, allowedDomains: ['example.com'] };
    scene.evaluateAll();
    await scene.pass(0);
    assert.deepEqual(scene.decided, ['approve csr-1']);
  });

  it('decides what it has only observed once the policy says enforce', async () => {
    await using scene = new Scene();
    scene.policy = { ...defaultApproverPolicy, mode: 'observe' };
    scene.api.addNode('n1');
    scene.api.addCsr('csr-1', 'n1');
    await scene.start();
    scene.api.addNode('n1', { spec: { providerID: 'changed' } });
    await scene.pass(5 * minute);
    assert.deepEqual(scene.api.about('csr-1'), ['update csr-1']);
    assert.deepEqual(scene.api.conditions('csr-1'), []);
    scene.policy = defaultApproverPolicy;
    scene.evaluateAll();
    await scene.pass(0);
    assert.deepEqual(scene.api.conditions('csr-1'), ['Approved']);
    assert.deepEqual(scene.decided, ['approve csr-1', 'approve csr-1']);
  });
});
