import type { SubjectAltNames } from '../core/certificate.ts';
import type { AddressReply, NodeAddress } from '../core/enroller-protocol.ts';
import type { Failure } from '../core/errors.ts';
import { altNamesOfNode } from '../core/identity.ts';
import { hour, minute, second } from '../core/instant.ts';
import type { Instant } from '../core/instant.ts';
import { retryDelay } from '../core/timing.ts';
import type { Clock } from '../sys/clock.ts';
import type { Logger } from '../sys/log.ts';
import type { EnrollerLink, Lost } from './enroller-link.ts';

export interface AddressBookOptions {
  readonly clock: Clock;
  readonly random: () => number;
  readonly enroller: EnrollerLink;
  readonly logger: Logger;
  /** Addresses of this machine's network interfaces. */
  readonly interfaces: () => readonly string[];
  /** Seconds between two look-ups; 0 follows the Node without end. */
  readonly refreshSeconds: number;
  /** Host name for certificates that take their addresses from the interfaces. */
  readonly hostName: string;
}

/**
 * Knows by which names and addresses the node is reached. Looking at the Node
 * object takes the node's identity and so an enroller process; the book therefore
 * asks when there is a reason to: at first, when a network interface changed (which
 * the keeper sees for itself, within a minute) but not again within a minute, and
 * now and then.
 */
export class AddressBook {
  readonly #options: AddressBookOptions;
  #ofNode: SubjectAltNames | undefined;
  #interfaces: readonly string[] = [];
  #lookingUp = false;
  #failures = 0;
  #failure: (Failure & { readonly at: Instant }) | undefined;
  #lookAgain = false;
  #nextLookUp: Instant = 0;
  #lastLookUp: Instant = -Infinity;

  constructor(options: AddressBookOptions) {
    this.#options = options;
  }

  /** From Node.status.addresses; undefined before they are known. */
  get ofNode(): SubjectAltNames | undefined {
    return this.#ofNode;
  }

  /** Why the last look-up of the Node failed; undefined after one that worked. */
  get failure(): (Failure & { readonly at: Instant }) | undefined {
    return this.#failure;
  }

  get ofInterfaces(): SubjectAltNames {
    return { dnsNames: [this.#options.hostName], ipAddresses: this.#interfaces };
  }

  /** When the next look-up is due. */
  get wake(): Instant {
    return this.#lookingUp ? Infinity : this.#nextLookUp;
  }

  /** Reads the interfaces and, where called for, asks for the Node. */
  tick({ lookUpNode }: { readonly lookUpNode: boolean }): void {
    const { clock, interfaces } = this.#options;
    const found = interfaces();
    const changed = found.join() !== this.#interfaces.join();
    this.#lookAgain ||= changed && this.#interfaces.length > 0;
    this.#interfaces = found;
    if (changed) this.#hurry(clock.now());
    if (lookUpNode && !this.#lookingUp && this.#isDue(clock.now())) this.#lookUp();
  }

  #lookedUp(reply: AddressReply | Lost): void {
    if (reply.type !== 'addresses') return this.#failed(reply.failure);
    if (reply.final) this.#lookingUp = false;
    this.#recovered();
    this.#schedule();
    this.#learn(reply.addresses);
  }

  #recovered(): void {
    if (this.#failures > 0) {
      this.#options.logger.log('addresses_recovered', { failures: this.#failures });
    }
    this.#failures = 0;
    this.#failure = undefined;
  }

  /** An interface that comes and goes must not turn each change into an enroller and its requests. */
  #hurry(now: Instant): void {
    const since = now - this.#lastLookUp;
    // A clock set back must not stretch the wait.
    const wait = since >= 0 && since < minute ? minute - since : 0;
    this.#nextLookUp = Math.min(this.#nextLookUp, now + wait);
  }

  /** A clock set back must not put the next look-up off. */
  #isDue(now: Instant): boolean {
    const { refreshSeconds } = this.#options;
    const longest = Math.max(1.5 * refreshSeconds * second, longestRetry);
    return now >= this.#nextLookUp || this.#nextLookUp - now > longest;
  }

  #lookUp(): void {
    this.#lookingUp = true;
    this.#lastLookUp = this.#options.clock.now();
    const follow = this.#options.refreshSeconds === 0;
    this.#options.enroller.request({ type: 'look-up-addresses', follow }, (reply) => {
      this.#lookedUp(reply);
    });
  }

  #failed(failure: Failure): void {
    this.#lookingUp = false;
    this.#failures += 1;
    const { clock, random, logger } = this.#options;
    this.#failure = { ...failure, at: clock.now() };
    const retry = retryDelay(failure, this.#failures, random());
    const urgent = this.#ofNode === undefined || this.#lookAgain;
    // What is known stays true: after an outage nobody has to know it anew at once.
    this.#nextLookUp = clock.now() + (urgent ? retry : Math.max(retry, this.#interval()));
    const { code, message, remedy } = failure;
    logger.log('addresses_failed', {
      code,
      error: message,
      ...(remedy !== undefined && { remedy }),
    });
  }

  /**
   * After a change of the interfaces there is a second look a minute later: the
   * kubelet may not have put it into the Node yet at the first.
   */
  #schedule(): void {
    const now = this.#options.clock.now();
    this.#nextLookUp = now + (this.#lookAgain ? minute : this.#interval());
    this.#lookAgain = false;
  }

  /** As wide as it is long: nodes that started together are evenly spread after the first. */
  #interval(): number {
    const { random, refreshSeconds } = this.#options;
    return Math.round(refreshSeconds * second * (0.5 + random()));
  }

  #learn(addresses: readonly NodeAddress[]): void {
    // A Node without addresses is one that has not registered yet, or lost its status for a moment.
    if (addresses.length === 0) return;
    const found = altNamesOfNode(addresses);
    if (JSON.stringify(found) === JSON.stringify(this.#ofNode)) return;
    this.#ofNode = found;
    this.#options.logger.log('addresses_changed', {
      dnsNames: found.dnsNames,
      ipAddresses: found.ipAddresses,
    });
  }
}

/** What retryDelay answers at most to a failed look-up: an hour asked for by the server, twice as long when random has it. */
const longestRetry = 2 * hour;
