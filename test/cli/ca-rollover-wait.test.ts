import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { waitFor } from '../../src/cli/ca-rollover-wait.ts';
import { AgentError } from '../../src/core/errors.ts';
import { minute, second } from '../../src/core/instant.ts';
import type { Gate, GateState } from '../../src/trust/cluster/gate.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { rolloverView } from './rollover-views.ts';

interface Waited {
  readonly code: number;
  /** Of the gate G3. */
  readonly state: string | undefined;
  readonly readings: number;
  readonly seconds: number;
  readonly said: string;
}

const unreachable = new AgentError('API_UNREACHABLE', 'get /api/v1/nodes: connect ECONNREFUSED');

/** Waits for G3, which has these states one after the other, 10 seconds each. */
async function waitThrough(...states: readonly (GateState | AgentError | Gate)[]): Promise<Waited> {
  const clock = new FakeClock();
  let [readings, said] = [0, ''];
  const view = async (): ReturnType<Parameters<typeof waitFor>[1]['view']> => {
    const state = states[Math.min(readings, states.length - 1)] ?? 'open';
    readings += 1;
    if (state instanceof AgentError) throw state;
    return rolloverView([typeof state === 'string' ? gateIn(state) : state]);
  };
  const stderr = { write: (text: string) => (said += text) };
  const waiting = waitFor(['G3'], { view, context: { clock, stderr }, timeoutMs: 2 * minute });
  const [{ view: last, code }] = await Promise.all([waiting, clock.advance(10 * minute)]);
  return { code, state: last.gates[0]?.state, readings, seconds: 10 * (readings - 1), said };
}

function gateIn(state: GateState): Gate {
  return {
    id: 'G3',
    state,
    reasons: state === 'open' ? [] : [{ state, message: `1 node of 2 is ${state}` }],
  };
}

describe('waitFor()', () => {
  it('returns as soon as the gates are open, and says what it waits for once', async () => {
    const { code, readings, said } = await waitThrough('waiting', 'waiting', 'unknown', 'open');
    assert.deepEqual([code, readings], [0, 4]);
    assert.equal(
      said,
      'waiting for G3: 1 node of 2 is waiting\nwaiting for G3: 1 node of 2 is unknown\n',
    );
  });

  it('ends with 3 when time is over', async () => {
    const { code, seconds } = await waitThrough('waiting');
    assert.deepEqual([code, seconds], [3, (2 * minute) / second]);
  });

  it('ends with 4 when something fails for 40 seconds', async () => {
    const { code, seconds } = await waitThrough('waiting', 'harmful');
    assert.deepEqual([code, seconds], [4, 50]);
  });

  it('names another gate if it is harmful, because that ends the wait', async () => {
    const message = 'ca.crt lacks the new CA';
    const { code, said } = await waitThrough({
      id: 'G1',
      state: 'harmful',
      reasons: [{ state: 'harmful', message }],
    });
    assert.equal(code, 4);
    assert.equal(said, `waiting for G1: ${message}\n`);
  });

  it('waits for an API server that does not answer, and fails when time is over', async () => {
    const { code, said } = await waitThrough(unreachable, unreachable, 'open');
    assert.equal(code, 0);
    assert.equal(said, 'waiting for the API server: get /api/v1/nodes: connect ECONNREFUSED\n');
    await assert.rejects(waitThrough(unreachable), { code: 'API_UNREACHABLE' });
  });

  it('continues while a credential that has worked is rejected', async () => {
    const rejected = new AgentError('API_UNAUTHORIZED', 'HTTP status 401', {
      remedy: 'Check the certificate',
    });
    const { code, said } = await waitThrough('waiting', rejected, 'open');
    assert.equal(code, 0);
    assert.equal(
      said.split('\n')[1],
      'nodecertd cannot read the cluster, and tries again: HTTP status 401 (Check the certificate)',
    );
    await assert.rejects(waitThrough(rejected, 'open'), { code: 'API_UNAUTHORIZED' });
  });

  it('ends if it cannot tell the CAs apart', async () => {
    const unclear = new AgentError('USAGE', 'cannot tell the old from the new CA');
    await assert.rejects(waitThrough('waiting', unclear, 'open'), { code: 'USAGE' });
  });

  it('survives a shorter failure, such as a restart of kube-controller-manager', async () => {
    const { code } = await waitThrough('harmful', 'harmful', 'waiting', 'harmful', 'open');
    assert.equal(code, 0);
  });
});
