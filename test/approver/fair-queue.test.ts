import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { QueuedCsr } from '../../src/approver/fair-queue.ts';
import { FairQueue } from '../../src/approver/fair-queue.ts';
import { hasCode } from '../../src/core/errors.ts';

const never = new AbortController().signal;

function csr(name: string, turn: string, createdAt = 0): QueuedCsr {
  return { name, turn, createdAt, resourceVersion: '1' };
}

function queueOf(...csrs: readonly QueuedCsr[]): FairQueue {
  const queue = new FairQueue();
  for (const one of csrs) queue.add(one);
  return queue;
}

async function takeAll(queue: FairQueue): Promise<string[]> {
  const names: string[] = [];
  while (queue.size > 0) names.push((await queue.take(never)).name);
  return names;
}

describe('FairQueue', () => {
  it('takes nodes in turn, and the newest CSR of a node first', async () => {
    const queue = queueOf(
      csr('a-old', 'a', 1),
      csr('a-newest', 'a', 3),
      csr('a-new', 'a', 2),
      csr('b', 'b', 9),
      csr('c', 'c', 0),
    );
    assert.deepEqual(await takeAll(queue), ['a-newest', 'b', 'c', 'a-new', 'a-old']);
  });

  it('lets a node with a thousand CSRs delay another node by one CSR', async () => {
    const flood = Array.from({ length: 1000 }, (_, at) => csr(`flood-${at}`, 'evil', at));
    const queue = queueOf(...flood, csr('good', 'good', 5));
    assert.equal((await takeAll(queue)).indexOf('good'), 1);
  });

  it('orders the CSRs of one second by their version, then by name', async () => {
    const queue = queueOf(
      { ...csr('first', 'a'), resourceVersion: '99' },
      { ...csr('third', 'a'), resourceVersion: '100' },
      { ...csr('second', 'a'), resourceVersion: '99' },
    );
    assert.deepEqual(await takeAll(queue), ['third', 'second', 'first']);
  });

  it('keeps a CSR that is added twice once, and moves it to another turn', async () => {
    const queue = queueOf(csr('one', ''), csr('two', ''), csr('one', ''));
    assert.equal(queue.size, 2);
    queue.add(csr('two', 'node-2'));
    assert.deepEqual(await takeAll(queue), ['one', 'two']);
  });

  it('gives a CSR to one worker at a time, and again if it was added meanwhile', async () => {
    const queue = queueOf(csr('one', 'a'));
    await queue.take(never);
    queue.add(csr('one', 'a'));
    assert.equal(queue.size, 0);
    queue.done('one');
    assert.equal((await queue.take(never)).name, 'one');
    queue.done('one');
    assert.equal(queue.size, 0);
  });

  it('forgets a removed CSR, also while a worker has it', async () => {
    const queue = queueOf(csr('one', 'a'), csr('two', 'a'));
    queue.remove('two');
    assert.equal((await queue.take(never)).name, 'one');
    queue.add(csr('one', 'a'));
    queue.remove('one');
    queue.done('one');
    assert.equal(queue.size, 0);
  });

  it('hands a CSR to the worker that has waited longest', async () => {
    const queue = new FairQueue();
    const taken = [queue.take(never), queue.take(never)];
    queue.add(csr('one', 'a'));
    queue.add(csr('two', 'a'));
    assert.deepEqual(
      (await Promise.all(taken)).map(({ name }) => name),
      ['one', 'two'],
    );
  });

  it('lets a waiting worker go when its signal fires', async () => {
    const queue = new FairQueue();
    const stop = new AbortController();
    const taken = queue.take(stop.signal);
    stop.abort();
    await assert.rejects(taken, (error) => hasCode(error, 'ABORTED'));
    await assert.rejects(queue.take(stop.signal), (error) => hasCode(error, 'ABORTED'));
    queue.add(csr('one', 'a'));
    assert.equal(queue.size, 1);
  });
});
