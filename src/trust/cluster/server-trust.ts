import type { RolloverSide, ServerTrust } from './gate.ts';
import type { ServerProbe } from './probes.ts';

/** What all API servers together serve to their clients, and which clients they reject. */
export function serverTrustOf(probes: readonly ServerProbe[]): ServerTrust {
  return {
    serves: new Set(
      probes.flatMap(({ served: { issuedBy } }): RolloverSide[] =>
        issuedBy === 'old' || issuedBy === 'next' ? [issuedBy] : [],
      ),
    ),
    rejectsOldTrust: probes.some(({ served }) => served.issuedBy === 'next' && !served.hasBridge),
    rejects: new Set([
      ...(probes.some(({ byOld }) => byOld.kind === 'rejected') ? (['old'] as const) : []),
      ...(probes.some(({ byNext }) => byNext.kind === 'rejected') ? (['next'] as const) : []),
    ]),
  };
}
