import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { AgentError } from '../../../src/core/errors.ts';
import { hour, minute, second } from '../../../src/core/instant.ts';
import { follow } from '../../../src/kube/follow.ts';
import type { FollowEnvironment } from '../../../src/kube/follow.ts';
import * as v from 'valibot';
import { FakeClock } from '../../support/fake-clock.ts';
import type { ClusterPlan } from './cluster.ts';
import { Cluster } from './cluster.ts';
import { EventQueue } from './event-queue.ts';
import { Following } from './following.ts';
import type { Span } from './traffic.ts';
import { nowhere } from '../../support/cluster-access.ts';

const start = Date.UTC(2026, 0, 1);
const middle = (): number => 0.5;

/** The events of the watch, in milliseconds from its start. */
interface Story {
  readonly restarts: readonly number[];
  readonly away?: Span;
  readonly length: number;
}

const stories: readonly (readonly [string, Story])[] = [
  ['a watch that is renewed', { restarts: [], length: 3 * hour }],
  ['a restart soon after the request', { restarts: [10 * second], length: hour }],
  ['restarts after hours', { restarts: [2 * hour, 5 * hour], length: 8 * hour }],
  [
    'an outage of an hour, begun soon',
    { restarts: [], away: { from: minute, to: 61 * minute }, length: 3 * hour },
  ],
  [
    'an outage of an hour, begun late',
    { restarts: [], away: { from: 3 * hour, to: 4 * hour }, length: 8 * hour },
  ],
];

describe('Following', () => {
  for (const [name, story] of stories) {
    it(`makes the requests of follow() at the same times: ${name}`, async () => {
      const expected = await requestsOfFollow(story);
      assert.deepEqual(requestsOfModel(story), expected);
      assert.ok(expected.length > 1);
    });
  }
});

/** The seconds from the start of the requests that reached the server. */
function requestsOfModel({ restarts, away, length }: Story): number[] {
  const queue = new EventQueue(start);
  const shifted = away && { from: start + away.from, to: start + away.to };
  const plan: ClusterPlan = {
    span: { from: start, to: start + length },
    lifetime: hour,
    restarts: restarts.map((at) => start + at),
    ...(shifted !== undefined && { away: shifted }),
    noApprover: {
      from: start,
      to: start + 2 * length,
      profiles: ['kubelet-serving'],
      backlogRate: 1,
    },
  };
  const cluster = new Cluster(plan, queue, middle);
  const seen: number[] = [];
  const request = cluster.request.bind(cluster);
  cluster.request = () => {
    const answered = request();
    if (answered) seen.push(Math.round((queue.now() - start) / second));
    return answered;
  };
  const tally = { lost: 0, stored: 0, outstanding: 0 };
  const csr = cluster.create('kubelet-serving');
  const following = new Following({ queue, random: middle, cluster, tally }, csr, () => undefined);
  queue.runUntil(start + length);
  following.stop();
  return seen;
}

async function requestsOfFollow(story: Story): Promise<number[]> {
  const clock = new FakeClock(start);
  const server = new ScriptedServer(clock, story);
  const over = new AbortController();
  const environment: FollowEnvironment = { client: () => server, clock, random: middle };
  const following = follow(environment, {
    target: { path: '/csrs', name: 'csr', schema, resourceVersion: '1' },
    observe: () => undefined,
    signal: over.signal,
  });
  const ended = assert.rejects(following, { code: 'ABORTED' });
  // All waits use the clock, so that each step is visible.
  await clock.advance(story.length - 1);
  over.abort();
  await ended;
  return server.seen;
}

const schema = v.object({ uid: v.string(), resourceVersion: v.string() });

/** Answers like an API server with an object that never changes, and counts requests. */
class ScriptedServer {
  readonly access = nowhere;
  readonly seen: number[] = [];
  readonly #clock: FakeClock;
  readonly #story: Story;

  constructor(clock: FakeClock, story: Story) {
    this.#clock = clock;
    this.#story = story;
  }

  async request<T>(_request: unknown, schema: v.GenericSchema<unknown, T>): Promise<T> {
    this.#arrive();
    return v.parse(schema, { uid: 'uid', resourceVersion: '1' });
  }

  async *stream(request: {
    readonly query?: Readonly<Record<string, string>>;
    readonly signal: AbortSignal;
  }): AsyncGenerator<Uint8Array, void, void> {
    this.#arrive();
    const end = this.#now + Number(request.query?.['timeoutSeconds']) * second;
    const broken = this.#nextBreak();
    const last = Math.min(end, broken);
    for (let next = this.#now + minute; next < last; next += minute) {
      await this.#clock.sleep(next - this.#now, request.signal);
      yield bookmark;
    }
    await this.#clock.sleep(last - this.#now, request.signal);
    if (broken < end) throw unreachable();
  }

  get #now(): number {
    return this.#clock.now() - start;
  }

  #nextBreak(): number {
    const { restarts, away } = this.#story;
    const breaks = [...restarts, away?.from ?? Infinity];
    return Math.min(...breaks.filter((at) => at > this.#now));
  }

  #arrive(): void {
    const { away } = this.#story;
    if (away !== undefined && this.#now >= away.from && this.#now < away.to) throw unreachable();
    this.seen.push(Math.round(this.#now / second));
  }
}

const bookmark = new TextEncoder().encode(
  `${JSON.stringify({ type: 'BOOKMARK', object: { metadata: { resourceVersion: '1' } } })}\n`,
);

function unreachable(): AgentError {
  return new AgentError('API_UNREACHABLE', 'connection refused');
}
