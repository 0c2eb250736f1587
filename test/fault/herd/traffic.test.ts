import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { minute, second } from '../../../src/core/instant.ts';
import { EventQueue, cancel } from './event-queue.ts';
import { randomFrom } from './random.ts';
import { Traffic } from './traffic.ts';

const span = { from: 0, to: 10 * minute };

describe('Traffic.load()', () => {
  it('counts per second, and in the worst minute', () => {
    const traffic = new Traffic(span);
    for (const at of [0, 999, 1_000, minute, minute + 1, minute + second]) traffic.count(at);
    const { total, mean, peak, worstMinute } = traffic.load();
    assert.deepEqual(
      { total, mean, peak, worstMinute },
      { total: 6, mean: 0.01, peak: 2, worstMinute: 0.05 },
    );
    assert.equal(traffic.load({ from: minute, to: 2 * minute }).total, 3);
  });

  const patterns: readonly (readonly [
    string,
    (index: number, random: () => number) => number,
    number,
    number,
  ])[] = [
    [
      'about 1 for requests that know nothing of each other',
      (_, random) => random() * minute,
      0.4,
      1.8,
    ],
    ['about 2 for pairs', (index) => randomFrom(index >> 1)() * minute, 1, 3.4],
    [
      'in the hundreds for nodes that act as one',
      (_, random) => 30 * second + random() * second,
      400,
      1_000,
    ],
  ];
  for (const [name, at, low, high] of patterns) {
    it(`has a dispersion of ${name}`, () => {
      const traffic = new Traffic(span);
      const random = randomFrom(1);
      for (let index = 0; index < 600; index += 1) traffic.count(at(index, random));
      const { dispersion } = traffic.load();
      assert.ok(dispersion > low && dispersion < high, `dispersion ${dispersion}`);
    });
  }

  it('adds a stream of requests of the wanted rate', () => {
    for (const rate of [0.5, 56]) {
      const traffic = new Traffic(span);
      traffic.add(rate, randomFrom(2));
      const { mean, dispersion } = traffic.load();
      assert.ok(Math.abs(mean - rate) < 4 * Math.sqrt(rate / 600), `mean ${mean}`);
      assert.ok(dispersion < 2, `dispersion ${dispersion}`);
    }
  });
});

describe('EventQueue', () => {
  it('runs due events in order of time and arrival, without canceled ones', () => {
    const queue = new EventQueue(0);
    const random = randomFrom(3);
    const seen: (readonly [number, number])[] = [];
    const timers = Array.from({ length: 1_000 }, (_, index) => {
      const at = Math.floor(random() * 100);
      return queue.at(at, () => seen.push([queue.now(), index]));
    });
    for (const timer of timers.slice(0, 100)) cancel(timer);
    queue.runUntil(100);
    assert.equal(seen.length, 900);
    assert.deepEqual(
      seen,
      [...seen].sort((a, b) => a[0] - b[0] || a[1] - b[1]),
    );
    assert.equal(queue.now(), 100);
  });

  it('keeps later events, and runs past events now', () => {
    const queue = new EventQueue(0);
    const seen: number[] = [];
    queue.at(50, () => queue.at(10, () => seen.push(queue.now())));
    queue.at(200, () => seen.push(queue.now()));
    queue.runUntil(100);
    assert.deepEqual(seen, [50]);
  });
});
