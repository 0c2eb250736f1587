import { setTimeout as delay } from 'node:timers/promises';
import { day, hour, minute, second } from '../../../src/core/instant.ts';
import type { ClockStage, Wanted } from './stage.ts';

export interface ClockFault {
  readonly fault: string;
  /** Lifetime of issued certificates in seconds; a day when absent. */
  readonly signingSeconds?: number;
  /** The maximum number of CSRs, including the bootstrap. */
  readonly requests: number;
  readonly play: (stage: ClockStage) => Promise<void>;
}

const year = 365 * day;

/** A certificate of a day is due after 16.8 to 21.6 hours. */
const pastDeadline = 22 * hour;
const pastExpiry = 30 * hour;

const bothStart: readonly Wanted[] = [
  ['rotation_started', 'kubelet-client'],
  ['rotation_started', 'kubelet-server'],
];
/** The serving certificate must wait for the client certificate. */
const clientStarts: readonly Wanted[] = [['rotation_started', 'kubelet-client']];

export const clockFaults: readonly ClockFault[] = [
  {
    fault: 'clock jumps past the deadline, by hours',
    requests: 4,
    play: async (stage) => {
      await stage.bootstrap();
      await stage.recovers(() => stage.passes(pastDeadline), bothStart);
    },
  },
  {
    fault: 'clock jumps past the expiry, by hours',
    requests: 4,
    play: async (stage) => {
      await stage.bootstrap();
      await stage.recovers(() => stage.passes(pastExpiry), clientStarts);
      await stage.says(['rotation_overdue', 'kubelet-client'], ['rotation_overdue_over']);
    },
  },
  {
    fault: 'clock jumps past the expiry, by years',
    requests: 4,
    play: async (stage) => {
      await stage.bootstrap();
      await stage.recovers(() => stage.passes(3 * year), clientStarts);
      await stage.says(['rotation_overdue', 'kubelet-client'], ['rotation_overdue_over']);
    },
  },
  {
    fault: 'clock of the node alone is hours ahead, past the deadline',
    requests: 4,
    play: async (stage) => {
      await stage.bootstrap();
      await stage.recovers(() => stage.machine.jump(pastDeadline), bothStart);
      await stage.holds(30 * second);
      await stage.says(['clock_skew']);
      await stage.recovers(() => stage.setRight(), []);
    },
  },
  {
    fault: 'clock of the node alone is years ahead, until it is set right',
    requests: 4,
    play: async (stage) => {
      await stage.bootstrap();
      await stage.calls(() => stage.machine.jump(2 * year), clientStarts);
      await stage.says(['rotation_failed', 'kubelet-client', 'CERT_EXPIRED'], ['clock_skew']);
      await stage.measure('nodecertd_clock_skew_seconds');
      await stage.asleep();
      await stage.recovers(() => stage.setRight(), [['rotation_recovered', 'kubelet-client']]);
    },
  },
  {
    fault: 'clock of the node alone is hours back, before notBefore, until it is set right',
    requests: 3,
    play: async (stage) => {
      await stage.bootstrap();
      await stage.calls(() => stage.machine.jump(-3 * hour), []);
      await stage.holds(minute);
      await stage.recovers(() => stage.setRight(), []);
    },
  },
  {
    fault: 'clock of the node alone is years back, until the deadline has passed',
    requests: 4,
    play: async (stage) => {
      await stage.bootstrap();
      stage.machine.jump(-3 * year);
      await stage.holds(minute);
      stage.cluster.jump(pastDeadline);
      await stage.recovers(() => stage.setRight(), bothStart);
    },
  },
  {
    fault: 'clock goes a day back while a request waits for its approver',
    requests: 2,
    play: async (stage) => {
      await stage.controlPlane.setApproving(false);
      stage.start();
      await stage.says(['csr_created', 'kubelet-client']);
      stage.machine.jump(-day);
      await stage.controlPlane.setApproving(true);
      await stage.says(['rotation_failed', 'kubelet-client', 'CERT_NOT_YET_VALID']);
      await stage.recovers(() => stage.setRight(), [['certificate_stored', 'kubelet-client']]);
    },
  },
  {
    fault: 'clocks of node and cluster are a year ahead, and set back',
    requests: 4,
    play: async (stage) => {
      stage.passes(year);
      await stage.bootstrap();
      await stage.calls(
        () => stage.passes(-year),
        [['clock_jumped'], ['rotation_deadline', 'kubelet-client']],
      );
      await stage.asleep();
      // All nodes of a cluster notice it at once, so each waits for a random time, and
      // rotates its client certificate first.
      await stage.calls(
        () => stage.passes(21 * minute),
        [...clientStarts, ['certificate_stored', 'kubelet-client']],
      );
      await stage.asleep();
      await stage.recovers(
        () => stage.passes(21 * minute),
        [['rotation_started', 'kubelet-server']],
      );
    },
  },
  {
    fault: 'start in 1970 without files',
    requests: 2,
    play: startAt1970,
  },
  {
    fault: 'start in 1970 with the previous pairs, until their deadline has passed',
    requests: 4,
    play: async (stage) => {
      await stage.bootstrap();
      await stage.agent.stop();
      stage.machine.set(0);
      stage.start();
      await stage.says(['rotation_deadline', 'kubelet-client']);
      await stage.holds(10 * second);
      stage.cluster.jump(pastDeadline);
      await stage.recovers(() => stage.setRight(), bothStart);
    },
  },
  {
    fault: 'machine suspended for a night, past the expiry',
    requests: 4,
    play: async (stage) => {
      await stage.bootstrap();
      await stage.suspended(async () => {
        await delay(3 * second);
        stage.passes(pastExpiry);
      });
      await stage.recovers(() => undefined, clientStarts);
    },
  },
  {
    fault: 'SIGSTOP for two minutes, past the expiry',
    signingSeconds: 100,
    requests: 12,
    play: async (stage) => {
      await stage.bootstrap();
      await stage.suspended(() => delay(2 * minute));
      await stage.recovers(() => undefined, clientStarts);
    },
  },
  {
    fault: 'SIGSTOP of all processes while a request waits, approved meanwhile',
    requests: 2,
    play: async (stage) => {
      await stage.controlPlane.setApproving(false);
      stage.start();
      await stage.says(['csr_created', 'kubelet-client']);
      await stage.suspended(async () => {
        await stage.controlPlane.setApproving(true);
        await delay(40 * second);
      });
      await stage.recovers(() => undefined, [['certificate_stored', 'kubelet-client']]);
    },
  },
  {
    fault: 'SIGSTOP of the enroller alone while a request waits',
    requests: 3,
    play: async (stage) => {
      await stage.controlPlane.setApproving(false);
      stage.start();
      await stage.says(['csr_created', 'kubelet-client']);
      const hung: readonly Wanted[] = [['enroller_hung'], ['rotation_failed', 'kubelet-client']];
      await stage.stopped(await stage.enrollers(), () => stage.calls(() => undefined, hung));
      await stage.controlPlane.setApproving(true);
      await stage.recovers(() => undefined, [['certificate_stored', 'kubelet-client']]);
    },
  },
  {
    fault: 'clock of the node alone goes to and fro by years, for a minute',
    // At most one each time the agent's clock was ahead.
    requests: 8,
    play: async (stage) => {
      await stage.bootstrap();
      for (let turn = 0; turn < 15; turn += 1) {
        stage.machine.jump(2 * year);
        await delay(2 * second);
        stage.setRight();
        await delay(2 * second);
      }
      await stage.recovers(() => stage.setRight(), []);
    },
  },
];

/** One of each kind, without waiting for the tick of the agent. */
export const quickClockFaults: readonly ClockFault[] = [
  {
    fault: 'clock jumps past the expiry, by hours',
    requests: 4,
    play: async (stage) => {
      await stage.bootstrap();
      await stage.recovers(() => stage.passes(pastExpiry), clientStarts);
    },
  },
  {
    fault: 'clock of the node alone is years back, until the certificates have expired',
    requests: 4,
    play: async (stage) => {
      await stage.bootstrap();
      await stage.calls(() => stage.machine.jump(-3 * year), []);
      await stage.holds(3 * second);
      stage.cluster.jump(pastExpiry);
      await stage.recovers(() => stage.setRight(), clientStarts);
    },
  },
  { fault: 'start in 1970 without files', requests: 2, play: startAt1970 },
];

/** The API server's certificate is not valid yet, so the agent makes no request. */
async function startAt1970(stage: ClockStage): Promise<void> {
  stage.machine.set(0);
  stage.start();
  await stage.says(['rotation_failed', 'kubelet-client', 'API_UNTRUSTED']);
  await stage.holds(5 * second);
  const failures =
    'nodecertd_rotation_failures_total\\{certificate="kubelet-client",code="API_UNTRUSTED"\\}';
  if ((await stage.requests()) > 0) throw new Error('the agent created a CSR too early');
  await stage.measure(failures);
  await stage.recovers(() => stage.setRight(), [['rotation_recovered', 'kubelet-client']]);
}
