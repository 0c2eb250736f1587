import { AddressBook } from '../../../src/keeper/address-book.ts';
import { areQuiet } from '../../../src/keeper/certificate-set.ts';
import { RequestJournal } from '../../../src/keeper/request-journal.ts';
import { Rotator } from '../../../src/keeper/rotator.ts';
import type { CertificateSpec } from '../../../src/core/certificate-spec.ts';
import {
  kubeletClientSigner,
  kubeletServingSigner,
  kubeletUsages,
  nodeSubject,
} from '../../../src/core/certificate-spec.ts';
import type { PairFacts, SubjectAltNames } from '../../../src/core/certificate.ts';
import { templateOf } from '../../../src/core/identity.ts';
import { minute, second } from '../../../src/core/instant.ts';
import type { Instant } from '../../../src/core/instant.ts';
import { kubeletWindow } from '../../../src/core/schedule.ts';
import type { Logger } from '../../../src/sys/log.ts';
import { EnrollerModel } from './enroller-model.ts';
import { TrustModel } from './trust-model.ts';
import type { HerdNode, KubeletProfile, Pair, World } from './world.ts';

export interface AgentNodeOptions {
  readonly world: World;
  readonly name: string;
  /** The existing pairs. A node without pairs bootstraps. */
  readonly pairs?: readonly (readonly [KubeletProfile, Pair])[];
  readonly refreshSeconds: number;
  /** Whether the agent keeps the trust of the node. */
  readonly keepsTrust: boolean;
}

/**
 * One node with the agent's real rotators, address book and journal. The enroller is a
 * model, and so is the keeper's round, which does not wait here.
 */
export class AgentNode implements HerdNode {
  readonly #world: World;
  readonly #client: Rotator;
  readonly #serving: Rotator;
  readonly #addresses: AddressBook;
  readonly #enroller: EnrollerModel;
  readonly #trust: TrustModel | undefined;
  #clientWake: Instant = 0;
  #servingWake: Instant = 0;
  #templateFor: SubjectAltNames | undefined;
  #examined = false;
  /** The time of the next tick. An event for another time is obsolete. */
  #wakeAt: Instant = Infinity;

  constructor({ world, name, pairs = [], refreshSeconds, keepsTrust }: AgentNodeOptions) {
    this.#world = world;
    this.#enroller = new EnrollerModel(world, {
      pairs: new Map(pairs.map(([profile, pair]) => [profile, factsOf(profile, pair)])),
      factsOf,
      onChange: () => this.#tick(),
    });
    this.#trust = keepsTrust
      ? new TrustModel({
          world,
          nodeName: name,
          certificates,
          pairs: () => this.#enroller.pairs,
          onChange: () => this.#tick(),
        })
      : undefined;
    const common = {
      clock: world.queue,
      random: world.random,
      enroller: this.#enroller,
      logger: silent,
      observer: unobserved,
      journal: new RequestJournal({}, () => undefined),
      nodeName: name,
    };
    this.#client = new Rotator({ ...common, ...placeOf('kubelet-client'), identityReady: true });
    this.#serving = new Rotator({ ...common, ...placeOf('kubelet-serving'), identityReady: false });
    this.#addresses = new AddressBook({
      ...common,
      interfaces: () => interfaces,
      refreshSeconds,
      hostName: name,
    });
  }

  get pairs(): ReadonlyMap<KubeletProfile, Pair> {
    return this.#enroller.pairs;
  }

  start(): void {
    this.#client.setTemplate(templateOf(specs['kubelet-client'], undefined));
    this.#tick();
    this.#client.start();
    this.#serving.start();
    this.#trust?.start();
  }

  /** Like `Keeper.#tick` and `#pause`. */
  #tick(): void {
    const { queue } = this.#world;
    const ready = this.#client.usable;
    this.#addresses.tick({ lookUpNode: ready });
    this.#serving.setIdentityReady(ready);
    const found = this.#addresses.ofNode;
    if (found !== this.#templateFor) {
      this.#templateFor = found;
      this.#serving.setTemplate(templateOf(specs['kubelet-serving'], found));
    }
    this.#setBehind();
    // A tick without due work only takes time.
    if (this.#clientWake <= queue.now()) this.#client.tick();
    if (this.#servingWake <= queue.now()) this.#serving.tick();
    this.#clientWake = this.#client.wake;
    this.#servingWake = this.#serving.wake;
    this.#examine();
    const lookUp = ready ? this.#addresses.wake : Infinity;
    const reissue = this.#trust?.wake ?? Infinity;
    const next = [lookUp, this.#clientWake, this.#servingWake];
    // The keeper's round follows within a minute.
    if (reissue > queue.now()) next.push(reissue + minute * this.#world.random());
    this.#wakeBy(Math.min(...next));
  }

  #setBehind(): void {
    const trust = this.#trust;
    if (trust === undefined) return;
    for (const rotator of [this.#client, this.#serving]) {
      rotator.setBehind((pair) => trust.isDue(rotator.spec.name, pair));
    }
  }

  /** `StartupChecks.runOnce`. */
  #examine(): void {
    if (this.#examined) return;
    const certificates = [this.#client.status(), this.#serving.status()];
    if (!areQuiet(certificates, this.#world.queue.now())) return;
    this.#examined = true;
    this.#enroller.request({ type: 'preflight' }, () => undefined);
  }

  #wakeBy(due: Instant): void {
    const { queue } = this.#world;
    const at = Math.max(due, queue.now() + second / 10);
    // An early tick does no harm: it computes the next one again.
    if (this.#wakeAt <= at || at === Infinity) return;
    this.#wakeAt = at;
    queue.at(at, () => {
      if (this.#wakeAt !== at) return;
      this.#wakeAt = Infinity;
      this.#tick();
    });
  }
}

const common = {
  subject: nodeSubject('worker'),
  key: 'ecdsa-p256',
  rotationWindow: kubeletWindow,
  static: { dnsNames: [], ipAddresses: [] },
  selfSignedUntilIssued: false,
} as const;

/** All nodes share a name and an address, to save memory. */
const specs: Readonly<Record<KubeletProfile, CertificateSpec>> = {
  'kubelet-client': {
    ...common,
    name: 'kubelet-client',
    profile: 'kubelet-client',
    signerName: kubeletClientSigner,
    usages: kubeletUsages('client auth', common.key),
    addresses: 'static',
  },
  'kubelet-serving': {
    ...common,
    name: 'kubelet-serving',
    profile: 'kubelet-serving',
    signerName: kubeletServingSigner,
    usages: kubeletUsages('server auth', common.key),
    addresses: 'node',
  },
};

const certificates = Object.values(specs);

function placeOf(profile: KubeletProfile): { spec: CertificateSpec; path: string } {
  return { spec: specs[profile], path: `/${profile}-current.pem` };
}

const interfaces: readonly string[] = ['10.0.0.1'];

const noNames: SubjectAltNames = { dnsNames: [], ipAddresses: [] };

const nodeNames: SubjectAltNames = { dnsNames: ['worker'], ipAddresses: interfaces };

function factsOf(profile: KubeletProfile, pair: Pair): PairFacts {
  const { subject, usages } = specs[profile];
  return {
    ...pair,
    ...(profile === 'kubelet-client' ? noNames : nodeNames),
    subject,
    usages,
    issuer: 'CN=kubernetes',
    otherNames: [],
    selfSigned: false,
    path: `/${profile}.pem`,
  };
}

const silent: Logger = { log: () => undefined };

const unobserved = {
  recordRequested: () => undefined,
  recordStored: () => undefined,
  recordFailure: () => undefined,
};
