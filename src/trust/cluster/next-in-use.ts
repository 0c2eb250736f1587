import { X509Certificate } from 'node:crypto';
import type { GateInput } from './gate.ts';
import { issuerOf, reportsLeafFrom } from './issued-by.ts';

/** True if the new CA has issued a certificate already, so a server that rejects it does harm. */
export function isNextInUse({ state, authorities, leaves = [] }: GateInput): boolean {
  const nodes = state.nodes.outcome === 'read' ? state.nodes.value : [];
  const signers = state.signers.outcome === 'read' ? state.signers.value : [];
  return (
    leaves.some(({ issuer }) => issuer === 'next') ||
    nodes.some((node) => reportsLeafFrom(node, authorities.next)) ||
    signers.some(
      ({ newest }) =>
        newest !== undefined && issuerOf(new X509Certificate(newest.leaf), authorities) === 'next',
    )
  );
}
