import type { AgentConfig } from '../core/config.ts';
import type { EnrollerCommand } from '../core/enroller-protocol.ts';
import { describeError } from '../core/errors.ts';
import { second } from '../core/instant.ts';
import { systemClock } from '../sys/clock.ts';
import { releaseMemory } from '../sys/memory.ts';
import { interfaceAddresses } from '../sys/network-interfaces.ts';
import type { CheckNode } from './enroller.ts';
import { Enroller } from './enroller.ts';

/** The first message of the keeper; commands follow. */
export interface Greeting {
  readonly config: AgentConfig;
  readonly version: string;
}

/**
 * Serves the keeper's commands over the IPC channel until it closes, and then ends
 * at once, whatever is under way: with the process go the keys it holds. That also
 * covers a keeper that was killed.
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
  // The keeper may have gone while this program was being loaded; nothing would tell it again.
  if (!process.connected) process.exit(0);
  // Ctrl-C reaches the whole group: the keeper decides, and closes the channel.
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
 * Where a request waits for days, or the Node is watched, this process outlives keys
 * that were stored or given up meanwhile. OpenSSL zeroes them once they are collected,
 * and an idle process collects nothing by itself. One that ends spares itself the work.
 */
function sweepSoon(): void {
  sweeping ??= setTimeout(() => {
    sweeping = undefined;
    releaseMemory();
  }, second);
}

/** A fault of this program: said in one line of the keeper's log, and the keys go with the process. */
function crash(error: unknown): void {
  setTimeout(exitFailed, second);
  const words = { type: 'crashed', error: describeError(error) };
  process.send?.(words, undefined, undefined, exitFailed);
}

function exitFailed(): void {
  process.exit(1);
}

function send(message: object): void {
  // When the keeper is gone, `disconnect` is on its way.
  process.send?.(message, undefined, undefined, () => undefined);
}
