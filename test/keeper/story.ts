import { RequestJournal } from '../../src/keeper/request-journal.ts';
import type { OutstandingRequests } from '../../src/keeper/request-journal.ts';
import { Rotator } from '../../src/keeper/rotator.ts';
import type { CertificateSpec } from '../../src/core/certificate-spec.ts';
import type { EnrollmentReply, InspectionReply } from '../../src/core/enroller-protocol.ts';
import type { Rollback } from '../../src/core/rotation-state.ts';
import type { PairFacts } from '../../src/core/certificate.ts';
import type { Failure } from '../../src/core/errors.ts';
import { clientTemplate, pairFor, servingTemplate, start } from '../core/fixtures.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { clientSpec, RecordingLink, RecordingLogger, RecordingObserver } from './fixtures.ts';

/** One rotator, with everything that it does recorded. The test sends the enroller's replies. */
export class Story {
  readonly clock = new FakeClock(start);
  readonly link = new RecordingLink();
  readonly logger = new RecordingLogger();
  readonly observer = new RecordingObserver();
  journaled: OutstandingRequests;
  readonly rotator: Rotator;
  /** Pairs that were reported to the hooks. */
  readonly reported: string[] = [];
  readonly name: string;

  constructor(
    spec: CertificateSpec = clientSpec,
    { outstanding = {}, identityReady = true, rollback }: StoryOptions = {},
  ) {
    this.name = spec.name;
    this.journaled = outstanding;
    this.rotator = new Rotator({
      spec,
      nodeName: 'worker-1',
      path: `/pki/${spec.name}-current.pem`,
      clock: this.clock,
      random: () => 0.5,
      enroller: this.link,
      logger: this.logger,
      observer: this.observer,
      journal: new RequestJournal(outstanding, (requests) => {
        this.journaled = requests;
      }),
      identityReady,
      postRotation: {
        stored: (_, pair) => this.reported.push(`stored ${pair.serial}`),
        found: (_, pair) => this.reported.push(`found ${pair.serial}`),
        rollbackTo: () => rollback,
      },
    });
    this.rotator.setTemplate(spec.addresses === 'static' ? clientTemplate : servingTemplate);
    this.rotator.start();
  }

  /** A reply to the latest attempt, or to the given one. */
  report({ attempt, ...reply }: Reported): void {
    this.link.reply(reply, { attempt });
  }

  async pass(ms: number): Promise<void> {
    await this.clock.advance(ms);
    this.rotator.tick();
  }

  requested(name = 'csr-1'): void {
    this.report({ type: 'requested', csr: this.csr(name) });
  }

  csr(name: string): { name: string; uid: string; createdAt: number } {
    return { name, uid: `uid of ${name}`, createdAt: this.clock.now() };
  }

  /** From the state without a pair to a pending CSR. */
  toPending(): void {
    this.report({ type: 'inspected', findings: [] });
    this.requested();
  }

  fail(failure: Failure, resumable = false): void {
    this.report({ type: 'failed', failure, resumable });
  }

  get open(): string[] {
    return (this.journaled[this.name] ?? []).map(({ csr }) => csr);
  }
}

interface StoryOptions {
  readonly outstanding?: OutstandingRequests;
  readonly identityReady?: boolean;
  /** The rollback of an earlier run. */
  readonly rollback?: Rollback;
}

/** With `attempt`, a reply to that enrollment and not to the latest one. */
export type Reported = (EnrollmentReply | InspectionReply) & { readonly attempt?: number };

export const clientPair = (changes: Partial<PairFacts> = {}): PairFacts =>
  pairFor(clientTemplate, changes);
export const denied: Failure = { code: 'CSR_DENIED', message: 'no', remedy: 'Ask why' };
export const unreachable: Failure = { code: 'API_UNREACHABLE', message: 'away' };
export const lostFailure: Failure = { code: 'ENROLLER_LOST', message: 'gone' };
