import type { CertificateSpec } from '../../src/core/certificate-spec.ts';
import { kubeletClientSigner, nodeSubject } from '../../src/core/certificate-spec.ts';
import type { AgentConfig } from '../../src/core/config.ts';
import type {
  EnrollerReplies,
  EnrollerReply,
  EnrollerRequest,
} from '../../src/core/enroller-protocol.ts';
import type { Failure } from '../../src/core/errors.ts';
import type { LogEvent, LogFields } from '../../src/core/log-events.ts';
import { kubeletWindow } from '../../src/core/schedule.ts';
import type { EnrollerLink, Lost } from '../../src/keeper/enroller-link.ts';
import type { HookRun } from '../../src/keeper/hook-record.ts';
import type { KeeperObserver } from '../../src/keeper/keeper.ts';
import { PendingRequests } from '../../src/keeper/pending-requests.ts';
import type { RotationObserver } from '../../src/keeper/rotation-record.ts';
import type { Logger } from '../../src/sys/log.ts';

export type Line = LogFields & { readonly event: LogEvent };

export class RecordingLogger implements Logger {
  readonly lines: Line[] = [];

  log(event: LogEvent, fields: LogFields = {}): void {
    this.lines.push({ event, ...fields });
  }

  get events(): LogEvent[] {
    return this.lines.map(({ event }) => event);
  }

  all(event: LogEvent): Line[] {
    return this.lines.filter((line) => line.event === event);
  }

  /** The lines since the last call, by event. */
  take(): LogEvent[] {
    return this.lines.splice(0).map(({ event }) => event);
  }
}

interface Sent {
  readonly request: EnrollerRequest;
  readonly send: ReplyHandler;
}

type ReplyHandler = (reply: EnrollerReply | Lost) => void;

/** Which requests a reply can belong to. */
export function requestTypesOf(reply: EnrollerReply): readonly EnrollerRequest['type'][] {
  switch (reply.type) {
    case 'inspected':
    case 'inspection-failed':
      return ['inspect', 'self-sign'];
    case 'addresses':
    case 'addresses-failed':
      return ['look-up-addresses'];
    case 'served':
      return ['check-served'];
    case 'rolled-back':
      return ['roll-back'];
    case 'preflight':
      return ['preflight'];
    default:
      return ['enroll'];
  }
}

/** Records the commands to the enroller, with the real table of pending requests. The test replies. */
export class RecordingLink implements EnrollerLink {
  readonly commands: (EnrollerRequest | { readonly type: 'abandon'; readonly name: string })[] = [];
  readonly #table = new PendingRequests();
  readonly #sent: Sent[] = [];

  request<T extends EnrollerRequest['type']>(
    request: Extract<EnrollerRequest, { readonly type: T }>,
    onReply: (reply: EnrollerReplies[T] | Lost) => void,
  ): void {
    this.commands.push(request);
    const handler = onReply as ReplyHandler;
    let delivered = false;
    const id = this.#table.open(request, (reply) => {
      delivered = true;
      handler(reply);
    });
    const send: ReplyHandler = (reply) => {
      delivered = false;
      if (reply.type !== 'lost') this.#table.deliver(id, reply);
      // A test may repeat the reply to a request that has ended.
      if (!delivered) handler(reply);
    };
    this.#sent.push({ request, send });
  }

  abandon(name: string): void {
    this.#table.supersede(name);
    this.commands.push({ type: 'abandon', name });
  }

  /** The number of requested enrollments. */
  get attempt(): number {
    return this.#sentOf(['enroll']).length;
  }

  /** Replies to the latest request of this kind, or to the enrollment with this number, or to the check of this serial. */
  reply(
    reply: EnrollerReply,
    { attempt, serial }: { readonly attempt?: number | undefined; readonly serial?: string } = {},
  ): void {
    const sent = this.#sentOf(requestTypesOf(reply)).filter(
      ({ request }) => serial === undefined || ('serial' in request && request.serial === serial),
    );
    const chosen = attempt === undefined ? sent.at(-1) : sent[attempt - 1];
    if (chosen === undefined) throw new Error(`nothing was requested that ${reply.type} answers`);
    chosen.send(reply);
  }

  /** The enroller ends while requests are pending. */
  lose(failure: Failure): void {
    this.#table.clear({ type: 'lost', failure });
  }

  /** The commands since the last call, by type. */
  take(): string[] {
    return this.commands.splice(0).map(({ type }) => type);
  }

  #sentOf(types: readonly string[]): Sent[] {
    return this.#sent.filter(({ request }) => types.includes(request.type));
  }
}

export type Stored = Parameters<RotationObserver['recordStored']>[0];

export class RecordingObserver implements KeeperObserver {
  readonly requested: string[] = [];
  readonly stored: Stored[] = [];
  readonly failures: string[] = [];
  readonly ends: string[] = [];
  readonly apiRequests: string[] = [];
  readonly hookRuns: string[] = [];
  readonly pkiRenewals: string[] = [];
  readonly trustRefusals: string[] = [];
  starts = 0;
  skew: number | undefined;

  recordRequested(name: string): void {
    this.requested.push(name);
  }

  recordStored(stored: Stored): void {
    this.stored.push(stored);
  }

  recordFailure(name: string, code: string): void {
    this.failures.push(`${name} ${code}`);
  }

  recordApiRequest({ verb, code }: { readonly verb: string; readonly code: string }): void {
    this.apiRequests.push(`${verb} ${code}`);
  }

  recordHookRun({ certificate, hook, result }: HookRun): void {
    this.hookRuns.push(`${certificate} ${hook} ${result}`);
  }

  recordPkiRenewal(result: string): void {
    this.pkiRenewals.push(result);
  }

  recordTrustRefusal(reason: string): void {
    this.trustRefusals.push(reason);
  }

  recordEnrollerStart(): void {
    this.starts += 1;
  }

  recordEnrollerEnd(reason: string): void {
    this.ends.push(reason);
  }

  setClockSkew(ms: number): void {
    this.skew = ms;
  }
}

export const clientSpec: CertificateSpec = {
  name: 'kubelet-client',
  profile: 'kubelet-client',
  signerName: kubeletClientSigner,
  subject: nodeSubject('worker-1'),
  usages: ['digital signature', 'client auth'],
  key: 'ecdsa-p256',
  rotationWindow: kubeletWindow,
  addresses: 'static',
  static: { dnsNames: [], ipAddresses: [] },
  selfSignedUntilIssued: false,
};

/** A node's configuration below `directory`. */
export function agentConfig(
  directory: string,
  certificates: readonly CertificateSpec[] = [clientSpec],
): AgentConfig {
  return {
    nodeName: 'worker-1',
    kubeconfig: `${directory}/kubelet.conf`,
    bootstrapKubeconfig: `${directory}/bootstrap.conf`,
    bootstrap: { deleteAfterUse: false },
    certificateDirectory: `${directory}/pki`,
    stateDirectory: `${directory}/state`,
    certificates,
    store: { previousPairs: 2, relativeLinks: false, acceptVolatileDirectory: true },
    addressRefreshSeconds: 1_800,
    kubelet: {
      configFile: `${directory}/kubelet.yaml`,
      certificateDirectory: `${directory}/kubelet-pki`,
      deferToKubelet: true,
    },
    metrics: { host: '127.0.0.1', port: 0, kubeletNames: false },
    inventory: { enabled: false, intervalSeconds: 600, paths: [] },
    log: { level: 'debug', format: 'json' },
  };
}

/** Lets the event loop run until the condition holds. Only a failing test waits for the limit. */
export async function until(what: string, condition: () => boolean): Promise<void> {
  const end = performance.now() + 20_000;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`timed out waiting for ${what}`);
    await new Promise((resolve) => {
      setTimeout(resolve, 5);
    });
  }
}
