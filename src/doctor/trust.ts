import type { CaPin } from '../core/ca-pin.ts';
import type { DoctorFinding } from '../core/findings.ts';
import type { Instant } from '../core/instant.ts';
import type { TrustStatus } from '../core/status.ts';
import { trustRemarks } from '../core/trust-remarks.ts';
import type { TrustFinding } from '../core/trust-report.ts';
import type { TrustAuthority, TrustPlaceKind } from '../core/trust.ts';
import { authorityName } from '../core/trust.ts';

/** The CAs in the files of this node, and what the running agent knows about them. */
export interface TrustFacts {
  readonly places: readonly {
    readonly path: string;
    readonly kind: TrustPlaceKind;
    readonly authorities: readonly Pick<TrustAuthority, 'subject' | 'fingerprint' | 'pin'>[];
  }[];
  /** The CA of the client certificate of this node, if it is in one of the places. */
  readonly clientIssuer?: Pick<TrustAuthority, 'subject' | 'fingerprint'>;
  /** Empty while `trust` is disabled, because nodecertd changes no file then. */
  readonly findings: readonly TrustFinding[];
  /** Absent if no agent answers, or `trust` is disabled. */
  readonly agent?: TrustStatus;
}

/** The CAs of the API server, in the kubelet's kubeconfigs and in the sources of the agent. */
export function knownPins(facts: TrustFacts | undefined): readonly CaPin[] {
  const trusted = (facts?.places ?? [])
    .filter(({ kind }) => kind === 'kubelet-kubeconfig')
    .flatMap(({ authorities }) => authorities);
  const wanted = facts?.agent?.report?.authorities.filter(({ isWanted }) => isWanted) ?? [];
  return [...new Set([...trusted, ...wanted].map(({ pin }) => pin))];
}

const why = 'When the cluster gets another CA, the node can lose the API server';

export function trustFindings(
  { places, findings, agent }: TrustFacts,
  now: Instant,
): DoctorFinding[] {
  const known = new Set(findings.map(({ message }) => message));
  const remarks = agent === undefined ? [] : trustRemarks(agent, now);
  return [
    ...bundleFindings(places),
    ...findings.map(({ message: what, remedy }) => problem(what, remedy)),
    ...remarks
      .filter(({ what }) => !known.has(what))
      .map(({ what, remedy, isProblem }): DoctorFinding => {
        if (isProblem) return problem(what, remedy);
        return {
          id: 'trust-step',
          severity: 'info',
          what,
          ...(remedy !== undefined && { remedy }),
        };
      }),
  ];
}

/** One for each set of CAs, so that a file with other CAs stands out. */
function bundleFindings(places: TrustFacts['places']): DoctorFinding[] {
  const paths = new Map<string, string[]>();
  for (const { path, authorities } of places) {
    if (authorities.length === 0) continue;
    const bundle = authorities.map(authorityName).join(', ');
    paths.set(bundle, [...(paths.get(bundle) ?? []), path]);
  }
  return [...paths].map(([bundle, of]) => {
    return { id: 'trust', severity: 'ok', what: `${of.join(', ')}: ${bundle}` };
  });
}

function problem(what: string, remedy: string | undefined): DoctorFinding {
  return {
    id: 'trust-problem',
    severity: 'warning',
    what,
    why,
    ...(remedy !== undefined && { remedy }),
  };
}
