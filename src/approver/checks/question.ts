import type { ApproverPolicy } from '../../core/approver-policy.ts';
import type { Instant } from '../../core/instant.ts';
import { nodeOfUser } from '../../core/node-name.ts';
import { printable } from '../../core/printable.ts';
import type { AltName } from '../alt-name.ts';
import { acceptedAltNames } from './alt-name-rules.ts';
import type { DecisionCode, Finding } from '../decision.ts';
import type { Facts } from '../facts.ts';
import type { NodeSnapshot } from '../node-snapshot.ts';
import { readRequest } from '../request/read-request.ts';
import type { RequestReading, ServingRequest } from '../request/read-request.ts';
import type { ServingCsr } from '../serving-csr.ts';

/** A CSR, and everything that the decision depends on. */
export interface QuestionInput {
  readonly csr: ServingCsr;
  /** What readRequest returned for this CSR earlier. Without it, the request is read and verified. */
  readonly reading?: RequestReading;
  readonly facts: Facts;
  readonly policy: ApproverPolicy;
  /** By the clock of the API server, because it is compared with creation times. */
  readonly now: Instant;
}

/**
 * One CSR during its evaluation. Reads the request only when a check needs it. A getter that
 * relies on earlier checks returns a harmless value if these did not pass.
 */
export class Question {
  readonly csr: ServingCsr;
  readonly facts: Facts;
  readonly policy: ApproverPolicy;
  readonly now: Instant;
  #reading: RequestReading | undefined;
  #altNames: readonly AltName[] | undefined;

  constructor({ csr, reading, facts, policy, now }: QuestionInput) {
    this.csr = csr;
    this.facts = facts;
    this.policy = policy;
    this.now = now;
    this.#reading = reading;
  }

  get reading(): RequestReading {
    this.#reading ??= readRequest(this.csr.request);
    return this.#reading;
  }

  /** Relies on 2.1 to 2.3. */
  get request(): ServingRequest {
    return this.reading.kind === 'read' ? this.reading.request : emptyRequest;
  }

  /** Relies on 3.4. */
  get altNames(): readonly AltName[] {
    this.#altNames ??= acceptedAltNames(this.request.altNames);
    return this.#altNames;
  }

  /** Relies on 1.1. */
  get nodeName(): string {
    return nodeOfUser(this.csr.username) ?? '';
  }

  get node(): NodeSnapshot | undefined {
    const { freshNode, nodes } = this.facts;
    return freshNode === undefined ? nodes.get(this.nodeName) : freshNode.node;
  }

  get isNodeFresh(): boolean {
    return this.facts.freshNode !== undefined;
  }

  /** The time at which a mismatch with the Node stops being tolerated. */
  get graceEnd(): Instant {
    return this.csr.createdAt + this.policy.mismatchGrace;
  }
}

const emptyRequest: ServingRequest = {
  subject: [],
  altNames: [],
  key: { kind: 'other', algorithm: '' },
  keyDigest: '',
  signatureProblem: undefined,
};

interface Reason {
  readonly code: DecisionCode;
  readonly message: string;
  readonly remedy: string;
}

export function deny(code: DecisionCode, message: string, remedy: string): Finding {
  return { outcome: 'deny', code, message, remedy };
}

export function hold(code: DecisionCode, message: string, remedy: string): Finding {
  return { outcome: 'hold', code, message, remedy };
}

/**
 * For a mismatch that the next update of the Node may resolve: a hold until the grace period ends,
 * then a denial that a fresh read of the Node has to confirm.
 */
export function holdThenDeny(question: Question, reason: Reason): Finding {
  const { graceEnd, now, node, isNodeFresh } = question;
  if (now < graceEnd) return { ...reason, outcome: 'hold', until: graceEnd };
  // Without a Node, nothing is known that could be final.
  if (node === undefined) return { ...reason, outcome: 'hold', needsFreshNode: !isNodeFresh };
  return { ...reason, outcome: 'deny', ...(!isNodeFresh && { needsFreshNode: true }) };
}

/** A foreign value for a message: quoted, short and on one line. */
export function quoted(text: string): string {
  return JSON.stringify(printable(text, 100));
}
