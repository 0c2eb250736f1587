import { X509Certificate } from 'node:crypto';
import type { GateInput, RolloverSide } from './gate.ts';
import { issuerOf, reportsLeafFrom } from './issued-by.ts';

/** True if this CA has issued a certificate that is in use, so a server that rejects it does harm. */
export function isInUse(
  side: RolloverSide,
  { state, authorities, leaves = [] }: GateInput,
): boolean {
  const nodes = state.nodes.outcome === 'read' ? state.nodes.value : [];
  const signers = state.signers.outcome === 'read' ? state.signers.value : [];
  return (
    leaves.some(({ issuer }) => issuer === side) ||
    nodes.some((node) => reportsLeafFrom(node, authorities[side])) ||
    signers.some(
      ({ newest }) =>
        newest !== undefined && issuerOf(new X509Certificate(newest.leaf), authorities) === side,
    )
  );
}
