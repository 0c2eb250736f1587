import type { EnrollerCommand, Greeting } from '../core/enroller-protocol.ts';
import { describeError } from '../core/errors.ts';
import { second } from '../core/instant.ts';
import { systemClock } from '../sys/clock.ts';
import { releaseMemory } from '../sys/memory.ts';
import { interfaceAddresses } from '../sys/network-interfaces.ts';
import type { EnrollerOptions } from './enroller.ts';
import { Enroller } from './enroller.ts';

/** The parts of other layers. */
export type EnrollerParts = Pick<EnrollerOptions, 'checkNode' | 'discover'>;

/**
 * Executes the keeper's commands until the IPC channel closes, which also happens when the
 * keeper is killed. Then exits at once, so that its keys do not stay in memory.
 */
export function runEnrollerProcess(parts: EnrollerParts): void {
  let enroller: Enroller | undefined;
  process.on('uncaughtException', crash);
  process.on('message', (message: Greeting | EnrollerCommand) => {
    if ('type' in message) enroller?.handle(message);
    else enroller = createEnroller(message, parts);
    sweepSoon();
  });
  process.on('disconnect', () => process.exit(0));
  // If the keeper exited while this program was loading, there is no later event.
  if (!process.connected) process.exit(0);
  // Ctrl-C signals the whole process group. The keeper stops the enroller by closing the channel.
  process.on('SIGINT', () => undefined);
  process.on('SIGTERM', () => undefined);
  setInterval(() => send({ type: 'alive' }), 3 * second);
}

function createEnroller({ config, version }: Greeting, parts: EnrollerParts): Enroller {
  return new Enroller({
    config,
    version,
    clock: systemClock,
    random: Math.random,
    interfaces: interfaceAddresses,
    ...parts,
    report: (report) => {
      send(report);
      sweepSoon();
    },
  });
}

let sweeping: NodeJS.Timeout | undefined;

/**
 * While a CSR is pending or a watch is open, this process may live for days after it last needed
 * a key. OpenSSL zeroes a key on garbage collection, and an idle process does not collect
 * garbage by itself.
 */
function sweepSoon(): void {
  sweeping ??= setTimeout(() => {
    sweeping = undefined;
    releaseMemory();
  }, second);
}

/** Reports a bug of this program in one line of the keeper's log, and exits so that no key stays in memory. */
function crash(error: unknown): void {
  setTimeout(exitFailed, second);
  const report = { type: 'crashed', error: describeError(error) };
  process.send?.(report, undefined, undefined, exitFailed);
}

function exitFailed(): void {
  process.exit(1);
}

function send(message: object): void {
  // If the keeper is gone, `disconnect` follows, so this ignores the error.
  process.send?.(message, undefined, undefined, () => undefined);
}
