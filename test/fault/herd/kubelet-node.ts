import { day, minute, second } from '../../../src/core/instant.ts';
import type { Instant } from '../../../src/core/instant.ts';
import type { Csr } from './cluster.ts';
import { isLost, registrationDelay } from './world.ts';
import type { HerdNode, KubeletProfile, Pair, World } from './world.ts';

/**
 * One node with client-go's certificate manager (v0.37) for each certificate. The
 * deadline is between 70% and 90% of [notBefore, notAfter]. Each attempt uses a new key
 * and CSR and waits for 15 minutes. The next attempt follows after 2 s, doubled over 5
 * steps with a jitter of 0.1, and then every 32 s. It sends POST, LIST and WATCH. The
 * requests that its reflector repeats after the end of a watch are omitted, which
 * favors client-go.
 */
export class KubeletNode implements HerdNode {
  readonly #world: World;
  readonly #pairs: Map<KubeletProfile, Pair>;

  constructor(world: World, pairs: readonly (readonly [KubeletProfile, Pair])[] = []) {
    this.#world = world;
    this.#pairs = new Map(pairs);
  }

  get pairs(): ReadonlyMap<KubeletProfile, Pair> {
    return this.#pairs;
  }

  start(): void {
    const { queue, random } = this.#world;
    const bootstrapping = !this.#pairs.has('kubelet-client');
    const serving = this.#manager('kubelet-serving');
    this.#manager('kubelet-client', () => {
      if (bootstrapping) queue.after(registrationDelay(random), () => serving.schedule());
    }).schedule();
    if (!bootstrapping) serving.schedule();
  }

  #manager(profile: KubeletProfile, onFirst: () => void = () => undefined): Manager {
    return new Manager(this.#world, profile, { pairs: this.#pairs, onFirst });
  }
}

interface ManagerOptions {
  readonly pairs: Map<KubeletProfile, Pair>;
  readonly onFirst: () => void;
}

class Manager {
  readonly #world: World;
  readonly #profile: KubeletProfile;
  readonly #options: ManagerOptions;
  /** The creation times of its abandoned CSRs. */
  readonly #left: Instant[] = [];
  #failures = 0;

  constructor(world: World, profile: KubeletProfile, options: ManagerOptions) {
    this.#world = world;
    this.#profile = profile;
    this.#options = options;
  }

  schedule(): void {
    const { queue, random } = this.#world;
    const pair = this.#options.pairs.get(this.#profile);
    if (pair === undefined) return this.#attempt();
    const { notBefore, notAfter } = pair;
    const deadline = notBefore + (notAfter - notBefore) * (0.7 + 0.2 * random());
    // With a deadline in the past, the loop runs once a second.
    queue.at(Math.max(deadline, queue.now() + second), () => this.#attempt());
  }

  #attempt(): void {
    const { queue, cluster, tally } = this.#world;
    if (!cluster.request()) return this.#retry();
    const csr = cluster.create(this.#profile);
    const now = queue.now();
    while (now - (this.#left[0] ?? now) >= day) this.#left.shift();
    tally.outstanding = Math.max(tally.outstanding, this.#left.length + 1);
    // LIST and WATCH.
    cluster.request();
    cluster.request();
    const timeout = queue.after(15 * minute, () => {
      csr.watcher = undefined;
      cluster.forget(csr);
      this.#left.push(csr.createdAt);
      this.#retry();
    });
    csr.watcher = ({ state }) => {
      if (state !== 'issued') return;
      timeout.run = undefined;
      this.#store(csr);
    };
  }

  #retry(): void {
    const { queue, random } = this.#world;
    const delay = this.#failures < 4 ? 2 ** (this.#failures + 1) * (1 + 0.1 * random()) : 32;
    this.#failures += 1;
    queue.after(delay * second, () => this.#attempt());
  }

  #store(csr: Csr): void {
    const { cluster, queue, tally } = this.#world;
    const { pairs, onFirst } = this.#options;
    csr.watcher = undefined;
    const now = queue.now();
    const first = !pairs.has(this.#profile);
    if (isLost(pairs.get(this.#profile), now)) tally.lost += 1;
    tally.stored += 1;
    pairs.set(this.#profile, { ...cluster.validity(), storedAt: now, serial: '' });
    this.#failures = 0;
    this.#left.length = 0;
    if (first) onFirst();
    this.schedule();
  }
}
