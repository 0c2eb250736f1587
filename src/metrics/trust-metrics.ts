import { second } from '../core/instant.ts';
import type { AgentStatus, TrustStatus } from '../core/status.ts';
import type { ReportedAuthority, ReportedLeaf, TrustReport } from '../core/trust-report.ts';
import type { TrustRefusal } from '../core/trust.ts';
import { shortFingerprint, trustRefusals, trustStages } from '../core/trust.ts';
import type { Registry } from './prom-client.ts';
import { Counter, Gauge } from './prom-client.ts';

/** The CAs that this node trusts. There are no series while `trust` is disabled. */
export class TrustMetrics {
  readonly #registry: Registry;
  /** Each function removes the series of one gauge. */
  readonly #clear: (() => void)[] = [];
  readonly #refused: Counter<'reason'>;
  #introduced = false;

  readonly #bundle: Gauge<'cas'>;
  readonly #wanted: Gauge<'cas'>;
  readonly #count: Gauge<never>;
  readonly #notAfter: Gauge<'ca' | 'subject'>;
  readonly #inSync: Gauge<never>;
  readonly #stage: Gauge<'stage'>;
  readonly #readerPending: Gauge<never>;
  readonly #lastChange: Gauge<never>;
  readonly #issuer: Gauge<'certificate' | 'ca'>;
  readonly #behind: Gauge<'certificate'>;

  constructor(registry: Registry) {
    this.#registry = registry;
    this.#bundle = this.#gauge(
      'nodecertd_trust_bundle_info',
      'Always 1; the label has the CAs that all managed files of this node have.',
      ['cas'],
    );
    this.#wanted = this.#gauge(
      'nodecertd_trust_wanted_info',
      'Always 1; the label has the CAs of the source.',
      ['cas'],
    );
    this.#count = this.#gauge(
      'nodecertd_trust_cas',
      'Number of CAs that all managed files of this node have.',
    );
    this.#notAfter = this.#gauge(
      'nodecertd_trust_ca_not_after_timestamp_seconds',
      'End of the validity of a CA that this node trusts, as a Unix time.',
      ['ca', 'subject'],
    );
    this.#inSync = this.#gauge(
      'nodecertd_trust_in_sync',
      '1 if every managed file had the CAs of the source after the last check.',
    );
    this.#stage = this.#gauge(
      'nodecertd_trust_stage',
      '1 for the stage of the CA rollover on this node, 0 for every other stage.',
      ['stage'],
    );
    this.#readerPending = this.#gauge(
      'nodecertd_trust_reader_pending',
      '1 while the running kubelet may not use the CAs of its files.',
    );
    this.#lastChange = this.#gauge(
      'nodecertd_trust_last_change_timestamp_seconds',
      'When nodecertd last wrote the CAs, as a Unix time; absent if it never has.',
    );
    this.#issuer = this.#gauge(
      'nodecertd_certificate_issuer_info',
      'Always 1; the label ca has the CA whose key verifies the certificate.',
      ['certificate', 'ca'],
    );
    this.#behind = this.#gauge(
      'nodecertd_certificate_issuer_behind',
      '1 while the signer uses a CA that did not issue the certificate.',
      ['certificate'],
    );
    this.#refused = new Counter({
      name: 'nodecertd_trust_refused_total',
      help: 'Checks that refused the CAs of a source, by reason.',
      labelNames: ['reason'],
      registers: [registry],
    });
    this.refresh({});
  }

  recordRefusal(reason: TrustRefusal): void {
    this.#refused.inc({ reason });
  }

  refresh({ trustSync }: Pick<AgentStatus, 'trustSync'>): void {
    for (const clear of this.#clear) clear();
    if (trustSync === undefined) return;
    this.#introduce();
    const { report } = trustSync;
    if (report === undefined) return;
    this.#setAuthorities(report);
    this.#setState(report, trustSync.state);
    for (const leaf of report.leaves) this.#setLeaf(leaf);
  }

  #setAuthorities({ authorities }: TrustReport): void {
    const held = authorities.filter(({ isHeld }) => isHeld);
    this.#bundle.set({ cas: namesOf(held) }, 1);
    this.#wanted.set({ cas: namesOf(authorities.filter(({ isWanted }) => isWanted)) }, 1);
    this.#count.set(held.length);
    for (const { fingerprint, subject, notAfter } of held) {
      this.#notAfter.set({ ca: shortFingerprint(fingerprint), subject }, notAfter / second);
    }
  }

  #setState(report: TrustReport, state: TrustStatus['state']): void {
    const { stage, reader, changedAt } = report;
    this.#inSync.set(Number(isInSync(report, state)));
    for (const one of trustStages) this.#stage.set({ stage: one }, Number(one === stage));
    this.#readerPending.set(Number(reader.state === 'pending'));
    if (changedAt !== undefined) this.#lastChange.set(changedAt / second);
  }

  #setLeaf({ name, issuer, isBehind }: ReportedLeaf): void {
    const ca = issuer === undefined ? '' : shortFingerprint(issuer);
    this.#issuer.set({ certificate: name, ca }, 1);
    this.#behind.set({ certificate: name }, Number(isBehind));
  }

  /** Counters start at zero: `increase()` does not see the first sample of a new series. */
  #introduce(): void {
    if (this.#introduced) return;
    this.#introduced = true;
    for (const reason of trustRefusals) this.#refused.inc({ reason }, 0);
  }

  #gauge<Label extends string = never>(
    name: string,
    help: string,
    labelNames: Label[] = [],
  ): Gauge<Label> {
    const gauge = new Gauge({ name, help, labelNames, registers: [this.#registry] });
    // A reset of a gauge without labels leaves a series with the value 0.
    this.#clear.push(() => (labelNames.length === 0 ? gauge.remove() : gauge.reset()));
    return gauge;
  }
}

/** A run that waits for the kubelet has written all files. */
function isInSync({ sources, authorities }: TrustReport, state: TrustStatus['state']): boolean {
  if (state === 'failed' || state === 'refused') return false;
  const isRead = sources.some(({ outcome }) => outcome === 'read');
  return isRead && authorities.every(({ isWanted, isHeld }) => isHeld || !isWanted);
}

/** Sorted, so that nodes with the same CAs have the same label. */
function namesOf(authorities: readonly ReportedAuthority[]): string {
  return authorities
    .map(({ fingerprint }) => shortFingerprint(fingerprint))
    .sort()
    .join(',');
}
