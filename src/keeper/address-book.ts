import type { SubjectAltNames } from '../core/certificate.ts';
import type { AddressReply, NodeAddress } from '../core/enroller-protocol.ts';
import type { Failure } from '../core/errors.ts';
import { credentialFileFailures } from '../core/errors.ts';
import { altNamesOfNode } from '../core/identity.ts';
import { minute, second } from '../core/instant.ts';
import type { Instant } from '../core/instant.ts';
import { failureFields } from '../core/log-events.ts';
import { longestRetryAfter, retryDelay } from '../core/timing.ts';
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
  /** Seconds between two lookups; 0 watches the Node continuously. */
  readonly refreshSeconds: number;
  /** Host name for certificates that use the addresses of the interfaces. */
  readonly hostName: string;
}

/**
 * The names and addresses of the node, for SANs. A lookup of the Node needs the client
 * certificate and therefore an enroller process. It runs at the start, after a change of a
 * network interface, and after each refresh interval, but at most once a minute.
 */
export class AddressBook {
  readonly #options: AddressBookOptions;
  #ofNode: SubjectAltNames | undefined;
  #interfaces: readonly string[] = [];
  #lookingUp = false;
  #failures = 0;
  #failure: (Failure & { readonly at: Instant }) | undefined;
  #lookUpAgain = false;
  #nextLookUp: Instant = 0;
  #lastLookUp: Instant = -Infinity;

  constructor(options: AddressBookOptions) {
    this.#options = options;
  }

  /** From Node.status.addresses; undefined before they are known. */
  get ofNode(): SubjectAltNames | undefined {
    return this.#ofNode;
  }

  /** The failure of the last lookup of the Node; undefined if that succeeded. */
  get failure(): (Failure & { readonly at: Instant }) | undefined {
    return this.#failure;
  }

  get ofInterfaces(): SubjectAltNames {
    return { dnsNames: [this.#options.hostName], ipAddresses: this.#interfaces };
  }

  /** When the next lookup is due. */
  get wake(): Instant {
    return this.#lookingUp ? Infinity : this.#nextLookUp;
  }

  /** Reads the interfaces and, if due, looks up the Node. */
  tick({ lookUpNode }: { readonly lookUpNode: boolean }): void {
    const { clock, interfaces } = this.#options;
    const found = interfaces();
    const changed = found.join() !== this.#interfaces.join();
    this.#lookUpAgain ||= changed && this.#interfaces.length > 0;
    this.#interfaces = found;
    if (changed) this.#lookUpSoon(clock.now());
    if (lookUpNode && !this.#lookingUp && this.#isDue(clock.now())) this.#lookUp();
  }

  /** A credential changed on disk, so a lookup that failed without it may succeed now. */
  credentialChanged(): void {
    if (this.#failure === undefined || !credentialFileFailures.has(this.#failure.code)) return;
    this.#lookUpSoon(this.#options.clock.now());
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

  /** At most once a minute, so that a flapping interface does not start an enroller each time. */
  #lookUpSoon(now: Instant): void {
    const since = now - this.#lastLookUp;
    // A clock that was set back must not lengthen the wait.
    const wait = since >= 0 && since < minute ? minute - since : 0;
    this.#nextLookUp = Math.min(this.#nextLookUp, now + wait);
  }

  /** A clock that was set back must not postpone the lookup. */
  #isDue(now: Instant): boolean {
    const { refreshSeconds } = this.#options;
    const longest = Math.max(1.5 * refreshSeconds * second, longestRetryAfter);
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
    const urgent = this.#ofNode === undefined || this.#lookUpAgain;
    // With known addresses, a lookup after an outage is not urgent.
    this.#nextLookUp = clock.now() + (urgent ? retry : Math.max(retry, this.#interval()));
    logger.log('addresses_failed', failureFields(failure));
  }

  /**
   * After a change of the interfaces, a second lookup follows a minute later, because the kubelet
   * may not have updated the Node before the first.
   */
  #schedule(): void {
    const now = this.#options.clock.now();
    this.#nextLookUp = now + (this.#lookUpAgain ? minute : this.#interval());
    this.#lookUpAgain = false;
  }

  /** A random time around the interval, so that nodes that started together drift apart. */
  #interval(): number {
    const { random, refreshSeconds } = this.#options;
    return Math.round(refreshSeconds * second * (0.5 + random()));
  }

  #learn(addresses: readonly NodeAddress[]): void {
    // A Node without addresses has not registered yet, or its status is temporarily empty.
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
