import type { CertificateReport } from '../../src/keeper/enroller-errands.ts';
import { RequestJournal } from '../../src/keeper/request-journal.ts';
import type { OutstandingRequests } from '../../src/keeper/request-journal.ts';
import type { Aftermath } from '../../src/keeper/rotator.ts';
import { Rotator } from '../../src/keeper/rotator.ts';
import type { CertificateSpec } from '../../src/core/certificate-spec.ts';
import type { PairFacts } from '../../src/core/certificate.ts';
import type { Failure } from '../../src/core/errors.ts';
import { clientTemplate, pairFor, servingTemplate, start } from '../core/fixtures.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { clientSpec, RecordingLink, RecordingLogger, RecordingObserver } from './fixtures.ts';

/** One rotator with everything it touches recorded; reports are the enroller's. */
export class Story {
  readonly clock = new FakeClock(start);
  readonly link = new RecordingLink();
  readonly logger = new RecordingLogger();
  readonly observer = new RecordingObserver();
  journaled: OutstandingRequests;
  readonly rotator: Rotator;
  /** What those who follow were told of. */
  readonly told: string[] = [];
  readonly name: string;

  constructor(
    spec: CertificateSpec = clientSpec,
    { outstanding = {}, identityReady = true, wentBack }: StoryOptions = {},
  ) {
    this.name = spec.name;
    this.journaled = outstanding;
    this.rotator = new Rotator({
      spec,
      nodeName: 'worker-1',
      path: `/pki/${spec.name}-current.pem`,
      clock: this.clock,
      chance: () => 0.5,
      enroller: this.link,
      logger: this.logger,
      observer: this.observer,
      journal: new RequestJournal(outstanding, (requests) => {
        this.journaled = requests;
      }),
      identityReady,
      after: {
        stored: (_, pair) => this.told.push(`stored ${pair.serial}`),
        found: (_, pair) => this.told.push(`found ${pair.serial}`),
        wentBack: () => wentBack,
      },
    });
    this.rotator.setTemplate(spec.addresses === 'static' ? clientTemplate : servingTemplate);
    this.rotator.start();
  }

  /** Of the latest attempt, unless the report says of which. */
  report(report: Reported): void {
    this.rotator.report({ attempt: this.link.attempt, ...report, name: this.name });
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

  /** From the state without a pair to the request that stands. */
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
  /** What an earlier run has left of going back. */
  readonly wentBack?: ReturnType<Aftermath['wentBack']>;
}

export type Reported = CertificateReport extends infer R
  ? R extends CertificateReport
    ? Omit<R, 'name' | 'attempt'> & { readonly attempt?: number }
    : never
  : never;

export const clientPair = (changes: Partial<PairFacts> = {}): PairFacts =>
  pairFor(clientTemplate, changes);
export const denied: Failure = { code: 'CSR_DENIED', message: 'no', remedy: 'ask' };
export const unreachable: Failure = { code: 'API_UNREACHABLE', message: 'away' };
export const lostFailure: Failure = { code: 'ENROLLER_LOST', message: 'gone' };
