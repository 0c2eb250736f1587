import { formatInstant } from '../core/instant.ts';
import type { TrustAuthority } from '../core/trust.ts';
import type { Gate, GateReason, GateState, RolloverAuthorities } from '../trust/cluster/gate.ts';
import { areOpen, gateNames, gatesBefore } from '../trust/cluster/gate.ts';
import type { RolloverView } from '../trust/cluster/rollover.ts';
import type { FurtherRollover } from '../trust/control-plane/new-authority-report.ts';
import { furtherRollovers } from '../trust/control-plane/new-authority-report.ts';
import type { ExitCode } from './exit-code.ts';
import { exitCodes } from './exit-code.ts';
import { alignColumns, oneLine } from './text.ts';

/** `harmful` first, because it must not be missed. */
export function rolloverExitCode(gates: readonly Gate[]): ExitCode {
  if (gates.some(({ state }) => state === 'harmful')) return exitCodes.expired;
  return gates.every(({ state }) => state === 'open') ? exitCodes.fine : exitCodes.expiring;
}

export function reasonExitCode(reasons: readonly GateReason[]): ExitCode {
  if (reasons.some(({ state }) => state === 'harmful')) return exitCodes.expired;
  return reasons.length === 0 ? exitCodes.fine : exitCodes.expiring;
}

/** The parts of a view that people see. While no API server answers, only the gates are known. */
export type ShownRollover = Pick<RolloverView, 'server' | 'gates'> &
  Partial<Pick<RolloverView, 'authorities' | 'state'>>;

/** For `-o json` and `-o yaml`, with every object of every reason. */
export function rolloverDocument({ server, authorities, state, gates }: ShownRollover): object {
  return {
    apiVersion: 'nodecertd.io/v1alpha1',
    kind: 'CaRollover',
    server,
    ...(authorities && authoritiesDocument(authorities)),
    gates: gates.map((gate) => ({ ...gate, name: gateNames[gate.id] })),
    safe: {
      switch: areOpen(gates, gatesBefore.switch),
      finish: areOpen(gates, gatesBefore.finish),
    },
    ...(state && { furtherRollovers: furtherRollovers(state) }),
  };
}

function authoritiesDocument({ old, next }: RolloverAuthorities): object {
  return {
    old: authorityDocument(old),
    ...(next !== undefined && { new: authorityDocument(next) }),
  };
}

function authorityDocument({ fingerprint, pin, subject, notAfter }: TrustAuthority): object {
  return { fingerprint, pin, subject, notAfter: formatInstant(notAfter) };
}

/** The gates for people, with the remedy of each reason. */
export function rolloverTable({ server, authorities, state, gates }: ShownRollover): string {
  const lines = [
    `Cluster ${server}`,
    ...(authorities === undefined ? [] : authorityLines(authorities)),
    '',
    ...gates.flatMap(gateLines),
    ...(gates.length === 0 ? [] : ['', summary(gates)]),
    ...(state === undefined ? [] : furtherRollovers(state).flatMap(furtherLines)),
  ];
  return `${lines.map(oneLine).join('\n')}\n`;
}

function authorityLines({ old, next }: RolloverAuthorities): string[] {
  const one = 'The cluster has one CA, so no rollover of the CA kubernetes is in progress';
  if (next === undefined) return [...alignColumns([authorityRow('CA', old)]), '', one];
  return alignColumns([authorityRow('old CA', old), authorityRow('new CA', next)]);
}

function furtherLines({ ca, nodes }: FurtherRollover): string[] {
  return [
    `A rollover of the CA ${ca} is in progress. To see whether a step is safe, without a change: nodecertd ca-rollover apply STEP --ca ${ca} --dry-run`,
    `     ${shortList(nodes)}`,
  ];
}

function authorityRow(
  label: string,
  { subject, fingerprint, notAfter }: TrustAuthority,
): readonly string[] {
  return [label, subject, fingerprint.slice(0, shownDigits), `expires ${formatInstant(notAfter)}`];
}

const shownDigits = 16;

function gateLines({ id, state, reasons }: Gate): string[] {
  return [`${id} ${gateNames[id].padEnd(widest)}  ${state}`, ...reasons.flatMap(reasonLines)];
}

const widest = Math.max(...Object.values(gateNames).map((name) => name.length));

/** One reason with its remedy, indented below the line of its gate. */
export function reasonLines({ state, message, remedy, objects = [] }: GateReason): string[] {
  return [
    `   ${state}: ${message}`,
    ...(objects.length === 0 ? [] : [`     ${shortList(objects)}`]),
    ...(remedy === undefined ? [] : [`     → ${remedy}`]),
  ];
}

const mostShown = 20;

function shortList(objects: readonly string[]): string {
  const others = objects.length - mostShown;
  const shown = objects.slice(0, mostShown).join(', ');
  return others > 0 ? `${shown} and ${others} more (all: -o json)` : shown;
}

/** One line about the gates, for people and for the progress of `wait`. */
export function summary(gates: readonly Gate[]): string {
  const harmful = idsIn(gates, 'harmful');
  if (harmful.length > 0) {
    return `Something fails now, or fails as soon as a connection is cut: ${harmful.join(', ')}`;
  }
  if (areOpen(gates, gatesBefore.finish)) return 'The old CA can be removed';
  if (areOpen(gates, gatesBefore.switch))
    return 'The new CA can be used; the old CA is still needed';
  return 'The new CA cannot be used everywhere yet';
}

function idsIn(gates: readonly Gate[], state: GateState): string[] {
  return gates.filter((gate) => gate.state === state).map(({ id }) => `${id} ${gateNames[id]}`);
}
