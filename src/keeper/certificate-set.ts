import { join } from 'node:path';
import type { PairFacts } from '../core/certificate.ts';
import type { CertificateSpec, CertificateTemplate } from '../core/certificate-spec.ts';
import { currentLink } from '../core/certificate-spec.ts';
import type { AgentConfig } from '../core/config.ts';
import type { Failure } from '../core/errors.ts';
import { trustFailures } from '../core/errors.ts';
import { templateOf } from '../core/identity.ts';
import type { Instant } from '../core/instant.ts';
import { hour, minute } from '../core/instant.ts';
import type { Rollback } from '../core/rotation-state.ts';
import type { CertificateState, CertificateStatus } from '../core/status.ts';
import type { Clock } from '../sys/clock.ts';
import { AddressBook } from './address-book.ts';
import type { RotatorOptions } from './rotator.ts';
import { Rotator } from './rotator.ts';

/** What the checks of the trusted CAs found; trust-reissues.ts implements it. */
export interface ReissuePort {
  /** Whether this pair has to be requested now. */
  isDue(name: string, pair: PairFacts): boolean;
  /** The last check of the trusted CAs could not read the Node. */
  readonly isNodeUnreadable: boolean;
}

export interface CertificateSetOptions extends Omit<
  RotatorOptions,
  'spec' | 'nodeName' | 'path' | 'identityReady'
> {
  readonly config: AgentConfig;
  /** Addresses of this machine's network interfaces. */
  readonly interfaces: () => readonly string[];
  readonly reissues?: ReissuePort;
}

/**
 * All certificates of the agent, and their dependencies: the agent needs the client certificate
 * to request the others and to read the Node's addresses. All methods are synchronous.
 */
export class CertificateSet {
  readonly #config: AgentConfig;
  readonly #rotators: readonly Rotator[];
  readonly #addresses: AddressBook;
  readonly #reissues: ReissuePort | undefined;
  readonly #clock: Clock;
  /** On the monotonic clock. */
  #nextIdentity = 0;

  constructor(options: CertificateSetOptions) {
    const { config } = options;
    this.#config = config;
    this.#reissues = options.reissues;
    this.#clock = options.clock;
    this.#rotators = config.certificates.map(
      (spec) =>
        new Rotator({
          ...options,
          spec,
          nodeName: config.nodeName,
          path: join(config.certificateDirectory, currentLink(spec.name)),
          identityReady: !this.#needsIdentity(spec),
        }),
    );
    this.#addresses = new AddressBook({
      ...options,
      refreshSeconds: config.addressRefreshSeconds,
      hostName: config.nodeName,
    });
  }

  /** Every `-current.pem`. */
  get paths(): string[] {
    return this.#rotators.map(({ path }) => path);
  }

  /** The current key pairs that this agent rotates, by the name of the certificate. */
  get pairs(): ReadonlyMap<string, PairFacts> {
    return new Map(
      this.#rotators.flatMap(({ spec, pair, observed }) =>
        pair === undefined || observed ? [] : [[spec.name, pair]],
      ),
    );
  }

  /**
   * The enroller may be writing the pairs behind these links now, so the keeper does not compare
   * them.
   */
  get busyPaths(): ReadonlySet<string> {
    const storing = this.#rotators.filter((rotator) => rotator.storing);
    // The enroller writes the kubeconfig after the client certificate.
    const client = storing.some(({ spec }) => spec.profile === 'kubelet-client');
    return new Set([
      ...storing.map(({ path }) => path),
      ...(client ? [this.#config.kubeconfig] : []),
    ]);
  }

  /** When the next tick is due at the latest. */
  get wake(): Instant {
    const lookUp = this.#looksUpNode ? this.#addresses.wake : Infinity;
    return Math.min(lookUp, ...this.#rotators.map(({ wake }) => wake));
  }

  status(): CertificateStatus[] {
    return this.#rotators.map((rotator) => this.#withLookUp(rotator.spec, rotator.status()));
  }

  /** A certificate that waits for addresses shows the failure of the Node lookup. */
  #withLookUp({ addresses }: CertificateSpec, status: CertificateStatus): CertificateStatus {
    const { failure } = this.#addresses;
    const waits = addresses === 'node' && status.state === 'waiting-for-addresses';
    return waits && failure !== undefined ? { ...status, lastFailure: failure } : status;
  }

  /** Why the last lookup of the Node could not verify the API server; undefined if it could. */
  get lostTrust(): Failure | undefined {
    const { failure } = this.#addresses;
    return failure !== undefined && trustFailures.has(failure.code) ? failure : undefined;
  }

  start(): void {
    for (const rotator of this.#rotators) rotator.start();
  }

  tick(): void {
    const ready = this.#identityReady;
    this.#addresses.tick({ lookUpNode: this.#looksUpNode });
    for (const rotator of this.#rotators) {
      if (this.#needsIdentity(rotator.spec)) rotator.setIdentityReady(ready);
      rotator.setTemplate(this.#templateFor(rotator.spec));
      const { name } = rotator.spec;
      rotator.setBehind((pair) => this.#reissues?.isDue(name, pair) === true);
      rotator.tick();
    }
  }

  /** The names of the certificates that the kubelet rotates. */
  get observed(): readonly string[] {
    return this.#rotators.filter(({ observed }) => observed).map(({ spec }) => spec.name);
  }

  /** Rotates these certificates now. */
  renew(names: readonly string[]): void {
    for (const rotator of this.#rotators) if (names.includes(rotator.spec.name)) rotator.renew();
  }

  /**
   * Replaces the client certificate, unless a request for it is in progress or has just failed. At
   * most once an hour: one of several API servers may reject the new certificate, too.
   */
  renewIdentity(): void {
    const identity = this.#rotators.find(({ spec }) => spec.profile === 'kubelet-client');
    const now = this.#clock.elapsed();
    if (identity?.isIdle !== true || now < this.#nextIdentity) return;
    this.#nextIdentity = now + hour;
    identity.renew();
  }

  /** True if no request for this certificate is in progress. */
  isIdle(name: string): boolean {
    return this.#rotators.some(({ spec, isIdle }) => spec.name === name && isIdle);
  }

  /**
   * The link points to the previous pair again.
   * @returns when the next certificate may be requested
   */
  rolledBack(name: string, rollback: Rollback): Instant | undefined {
    return this.#rotators.find(({ spec }) => spec.name === name)?.rolledBack(rollback);
  }

  /** The pair behind this link may have changed. */
  filesChanged(path: string): void {
    this.#rotators.find((rotator) => rotator.path === path)?.filesChanged();
  }

  /** The inspection of the client certificate covers the kubeconfig that names it. */
  kubeconfigChanged(): void {
    this.#rotators.find(({ spec }) => spec.profile === 'kubelet-client')?.filesChanged();
  }

  credentialChanged(): void {
    this.#addresses.credentialChanged();
    for (const rotator of this.#rotators) rotator.credentialChanged();
  }

  /**
   * If the agent rotates a client certificate, it requests all other certificates with that one.
   */
  #needsIdentity(spec: CertificateSpec): boolean {
    return (
      spec.profile !== 'kubelet-client' &&
      this.#config.certificates.some(({ profile }) => profile === 'kubelet-client')
    );
  }

  get #identityReady(): boolean {
    const identity = this.#rotators.find(({ spec }) => spec.profile === 'kubelet-client');
    return identity === undefined || identity.usable;
  }

  /**
   * The API server lets only the node's own client certificate read its Node. If the check of the
   * trusted CAs cannot read it, a lookup finds out whether the node needs another credential.
   */
  get #looksUpNode(): boolean {
    const needsAddresses = this.#rotators.some(
      ({ spec, observed }) => spec.addresses === 'node' && !observed,
    );
    return this.#identityReady && (needsAddresses || this.#reissues?.isNodeUnreadable === true);
  }

  #templateFor(spec: CertificateSpec): CertificateTemplate | undefined {
    const found = spec.addresses === 'node' ? this.#addresses.ofNode : this.#addresses.ofInterfaces;
    return templateOf(spec, found);
  }
}

/**
 * True if no certificate is about to change. That includes a CSR that has been pending for a
 * minute: an approving controller needs seconds, but a person may need days.
 */
export function areQuiet(certificates: readonly CertificateStatus[], now: Instant): boolean {
  return certificates.every(({ state, since }) =>
    state === 'pending-approval' ? Math.abs(now - since) >= minute : !inProgress.has(state),
  );
}

const inProgress: ReadonlySet<CertificateState> = new Set<CertificateState>([
  'starting',
  'requesting',
  'pending-issuance',
  'waiting-for-identity',
]);
