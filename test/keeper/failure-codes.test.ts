import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { AddressBook } from '../../src/keeper/address-book.ts';
import type { ErrorCode, Failure } from '../../src/core/errors.ts';
import { AgentError, errorCodes, toFailure } from '../../src/core/errors.ts';
import { day, minute } from '../../src/core/instant.ts';
import type { LogEvent } from '../../src/core/log-events.ts';
import { remedies } from '../../src/core/remedies.ts';
import { start } from '../core/fixtures.ts';
import { FakeClock } from '../support/fake-clock.ts';
import type { Line } from './fixtures.ts';
import { RecordingLink, RecordingLogger } from './fixtures.ts';
import { clientPair, Story } from './story.ts';

/** Codes that a running agent never logs as a failure. */
const notWhileRunning: Partial<Record<ErrorCode, string>> = {
  USAGE: 'the agent reads the command line before it starts',
  CONFIG_UNREADABLE: 'a reload logs config_refused and config_reloaded instead',
  CONFIG_INVALID: 'a reload logs config_refused and config_reloaded instead',
  METRICS_LISTEN: 'the agent does not start, or rejects the reload',
  CONTROL_LISTEN: 'the agent logs control_unavailable instead',
  AGENT_UNREACHABLE: 'only commands fail with this code',
  RENEWAL_PENDING: 'only commands fail with this code',
  HOOK_FAILED: 'the agent logs hook_failed instead',
  HOOK_TIMEOUT: 'the agent logs hook_failed instead',
  API_GONE: 'the watch starts again',
  ABORTED: 'the agent is stopping',
};

const runtimeCodes = errorCodes.filter((code) => notWhileRunning[code] === undefined);

/** A failure from the enroller with the remedy of its code. */
function failureOf(code: ErrorCode): Failure {
  return toFailure(new AgentError(code, 'it went wrong'));
}

/** Checks for exactly one line of this event, with code, error and remedy. */
function assertLogged(lines: readonly Line[], event: LogEvent, code: ErrorCode): void {
  const found = lines.filter((line) => line.event === event);
  assert.equal(found.length, 1, `${event} was logged ${found.length} times`);
  assert.equal(found[0]?.['code'], code);
  assert.equal(found[0]?.['error'], 'it went wrong');
  assert.equal(found[0]?.['remedy'], remedies[code]);
}

function assertLoggedOnce(lines: readonly Line[], event: LogEvent): void {
  assert.equal(lines.filter((line) => line.event === event).length, 1, event);
}

describe('every failure code of a running agent', () => {
  for (const code of runtimeCodes) {
    it(`${code} in an attempt is logged with a remedy, and its end too`, async () => {
      const story = new Story();
      story.toPending();
      story.fail(failureOf(code));
      assertLogged(story.logger.lines, 'rotation_failed', code);
      await story.pass(day);
      assert.equal(story.link.attempt, 2);
      const pair = clientPair({ notAfter: start + 100 * day });
      story.report({ type: 'stored', pair, findings: [] });
      assertLoggedOnce(story.logger.lines, 'rotation_recovered');
    });

    it(`${code} in an inspection is logged with a remedy, and its end too`, async () => {
      const story = new Story();
      story.report({ type: 'inspection-failed', failure: failureOf(code) });
      assertLogged(story.logger.lines, 'rotation_failed', code);
      await story.pass(day);
      const pair = clientPair({ notAfter: start + 100 * day });
      story.report({ type: 'inspected', pair, findings: [] });
      assertLoggedOnce(story.logger.lines, 'rotation_recovered');
    });

    it(`${code} in an inspection during a request is logged too`, () => {
      const story = new Story();
      story.toPending();
      story.report({ type: 'inspection-failed', failure: failureOf(code) });
      assertLogged(story.logger.lines, 'rotation_failed', code);
      story.report({ type: 'issued', csr: story.csr('csr-1') });
      story.report({ type: 'stored', pair: clientPair(), findings: [] });
      assertLoggedOnce(story.logger.lines, 'rotation_recovered');
    });

    it(`${code} while a CSR is pending is logged too`, () => {
      const story = new Story();
      story.toPending();
      story.report({ type: 'retrying', failure: failureOf(code) });
      assertLogged(story.logger.lines, 'csr_wait_retrying', code);
      story.report({ type: 'recovered' });
      assertLoggedOnce(story.logger.lines, 'csr_wait_recovered');
      story.report({ type: 'approved', csr: story.csr('csr-1') });
      assert.equal(story.logger.all('csr_wait_recovered').length, 1);
    });

    it(`${code} in an address lookup is logged too`, () => {
      const clock = new FakeClock(start);
      const logger = new RecordingLogger();
      const enroller = new RecordingLink();
      const options = { clock, logger, enroller, random: () => 0.5, interfaces: () => [] };
      const book = new AddressBook({ ...options, refreshSeconds: 60, hostName: 'worker-1' });
      book.tick({ lookUpNode: true });
      enroller.reply({ type: 'addresses-failed', failure: failureOf(code) });
      assertLogged(logger.lines, 'addresses_failed', code);
      enroller.reply({ type: 'addresses', addresses: [], final: true });
      enroller.reply({ type: 'addresses', addresses: [], final: true });
      assertLoggedOnce(logger.lines, 'addresses_recovered');
    });
  }

  it('keeps a more precise remedy of the error', () => {
    const failure = toFailure(new AgentError('STORE_FULL', 'full', { remedy: 'Empty /var' }));
    assert.equal(failure.remedy, 'Empty /var');
  });

  it('is logged once for an unstable server, and its end once', async () => {
    const story = new Story();
    story.toPending();
    for (let times = 0; times < 5; times += 1) {
      story.report({ type: 'retrying', failure: failureOf('API_UNREACHABLE') });
      story.report({ type: 'recovered' });
      await story.pass(minute);
    }
    const events = story.logger.events.filter((event) => event.startsWith('csr_wait'));
    assert.deepEqual(events, ['csr_wait_retrying', 'csr_wait_recovered']);
  });

  it('is logged again in the next wait', async () => {
    const story = new Story();
    story.toPending();
    const failure = failureOf('API_UNREACHABLE');
    story.report({ type: 'retrying', failure });
    story.report({ type: 'approved', csr: story.csr('csr-1') });
    story.report({ type: 'retrying', failure });
    story.fail(failureOf('CSR_FAILED'));
    const events = story.logger.events.filter((event) => event.startsWith('csr_wait'));
    const twice = ['csr_wait_retrying', 'csr_wait_recovered'];
    assert.deepEqual(events, [...twice, ...twice]);
  });
});

describe('remedies', () => {
  it('are imperative sentences for every code', () => {
    for (const code of errorCodes) {
      assert.match(remedies[code], /^[A-Z][a-z]+ .{8,}[^.]$|^See: /, code);
    }
  });
});
