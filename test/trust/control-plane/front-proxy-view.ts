import { shortFingerprint } from '../../../src/core/trust.ts';
import type { FrontProxyView } from '../../../src/trust/control-plane/steps/front-proxy.ts';
import { next, old } from './check-context.ts';

export const accepted = { kind: 'accepted' } as const;
export const rejected = { kind: 'rejected' } as const;
export const failed = { kind: 'failed', reason: 'socket hang up' } as const;

export interface OtherServer {
  /** Whether kube-apiserver on cp2 accepts each CA. */
  readonly accepts?: FrontProxyView['facts']['servers'][number]['old'];
  readonly acceptsNext?: FrontProxyView['facts']['servers'][number]['next'];
  /** The CA that issued its certificate. */
  readonly issuer?: typeof old;
  /** The nodes and APIs that are ignored. */
  readonly except?: readonly string[];
}

/** Two control-plane nodes, cp1 and cp2. */
export function viewWith({
  accepts = accepted,
  acceptsNext = accepted,
  issuer = old,
  except = [],
}: OtherServer): FrontProxyView {
  const report = {
    authorities: [],
    leaves: {},
    startedAt: {},
    reportedAt: 0,
    frontProxyClient: shortFingerprint(issuer.authority.fingerprint),
  };
  return {
    facts: {
      servers: [
        { name: 'cp1', isOwn: true, old: accepted, next: accepted },
        { name: 'cp2', isOwn: false, old: accepts, next: acceptsNext },
      ],
      published: [old.authority, next.authority],
      apis: [],
      others: [{ name: 'cp2', isReady: true, addresses: [], report }],
    },
    question: {
      authorities: { old: old.authority, next: next.authority },
      except: new Set(except),
    },
  };
}
