import type { EnrollerCommand, Greeting } from '../core/enroller-protocol.ts';
import { describeError } from '../core/errors.ts';
import { second } from '../core/instant.ts';
import { systemClock } from '../sys/clock.ts';
import { releaseMemory } from '../sys/memory.ts';
import { interfaceAddresses } from '../sys/network-interfaces.ts';
import type { CheckNode } from './enroller.ts';
import { Enroller } from './enroller.ts';

/**
 * Carries out the keeper's commands until the IPC channel closes, also because the keeper was
 * killed. Then it exits at once, so that its keys are gone.
 */
export function runEnrollerProcess(checkNode: CheckNode): void {
  let enroller: Enroller | undefined;
  process.on('uncaughtException', crash);
  process.on('message', (message: Greeting | EnrollerCommand) => {
    if ('type' in message) enroller?.handle(message);
    else enroller = createEnroller(message, checkNode);
    sweepSoon();
  });
  process.on('disconnect', () => process.exit(0));
  // The keeper may have exited while this program was loading: no event reports that later.
  if (!process.connected) process.exit(0);
  // Ctrl-C reaches the whole process group. The keeper decides and closes the channel.
  process.on('SIGINT', () => undefined);
  process.on('SIGTERM', () => undefined);
  setInterval(() => send({ type: 'alive' }), 3 * second);
}

function createEnroller({ config, version }: Greeting, checkNode: CheckNode): Enroller {
  return new Enroller({
    config,
    version,
    clock: systemClock,
    random: Math.random,
    interfaces: interfaceAddresses,
    checkNode,
    report: (report) => {
      send(report);
      sweepSoon();
    },
  });
}

let sweeping: NodeJS.Timeout | undefined;

/**
 * While a CSR is pending for days or the Node is watched, this process outlives keys that it
 * no longer needs. OpenSSL zeroes them when they are garbage-collected, and an idle process
 * does not collect by itself.
 */
function sweepSoon(): void {
  sweeping ??= setTimeout(() => {
    sweeping = undefined;
    releaseMemory();
  }, second);
}

/** Reports a bug of this program in one line of the keeper's log, and exits so that the keys are gone. */
function crash(error: unknown): void {
  setTimeout(exitFailed, second);
  const report = { type: 'crashed', error: describeError(error) };
  process.send?.(report, undefined, undefined, exitFailed);
}

function exitFailed(): void {
  process.exit(1);
}

function send(message: object): void {
  // Without a keeper, the event `disconnect` follows.
  process.send?.(message, undefined, undefined, () => undefined);
}
