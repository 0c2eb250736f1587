import type { CertificateSpec } from '../core/certificate-spec.ts';
import type { Instant } from '../core/instant.ts';
import {
  blockedBy,
  dueReason,
  isEarly,
  retryAt,
  isOverdue,
  isUsable,
} from '../core/rotation-due.ts';
import type { RotationState } from '../core/rotation-state.ts';
import type { CertificateState, CertificateStatus } from '../core/status.ts';

export interface LastEvent {
  readonly at: Instant;
  readonly text: string;
}

/** The status of one certificate. Computed at each call, so that "overdue" shows even if the loop is stuck. */
export function certificateStatus(options: {
  readonly spec: CertificateSpec;
  readonly path: string;
  readonly state: RotationState;
  readonly now: Instant;
  readonly lastEvent?: LastEvent;
}): CertificateStatus {
  const { spec, path, state, now, lastEvent } = options;
  const { pair, deadline, phase } = state;
  const nextAttempt = nextAttemptOf(state, now);
  const csr = phase.kind === 'enrolling' || phase.kind === 'backing-off' ? phase.csr : undefined;
  return {
    name: spec.name,
    signerName: spec.signerName,
    state: certificateState(state, now),
    since: phase.since,
    path,
    ...(pair !== undefined && { current: pair }),
    // A temporary self-signed certificate is due at once, regardless of its dates.
    ...(deadline !== undefined && pair?.selfSigned !== true && { rotationDeadline: deadline }),
    usable: isUsable(state, now),
    overdue: isOverdue(state, now),
    ...(csr !== undefined && { csr }),
    attempts: state.failures,
    ...(state.lastFailure !== undefined && { lastFailure: state.lastFailure }),
    ...(nextAttempt !== undefined && { nextAttempt }),
    ...(state.renewalAt !== undefined && { renewalAt: state.renewalAt }),
    rotations: state.rotations,
    ...(lastEvent !== undefined && { lastEvent }),
  };
}

/** When the next attempt starts, if that is known. */
function nextAttemptOf(state: RotationState, now: Instant): Instant | undefined {
  if (state.phase.kind === 'backing-off') return retryAt(state.phase);
  const delayed = certificateState(state, now) === 'backing-off';
  return delayed ? state.notBefore : undefined;
}

function certificateState(state: RotationState, now: Instant): CertificateState {
  const { phase } = state;
  switch (phase.kind) {
    case 'inspecting':
      return state.pair === undefined ? 'starting' : idleState(state, now);
    case 'idle':
      return idleState(state, now);
    case 'enrolling':
      if (phase.stage === 'pending') return 'pending-approval';
      return phase.stage === 'approved' ? 'pending-issuance' : 'requesting';
    case 'backing-off':
      return 'backing-off';
    default:
      return phase satisfies never;
  }
}

function idleState(state: RotationState, now: Instant): CertificateState {
  if (state.observed) return 'observing';
  if (dueReason(state, now) === undefined) return isEarly(state, now) ? 'not-yet-valid' : 'valid';
  switch (blockedBy(state, now)) {
    case 'addresses':
      return 'waiting-for-addresses';
    case 'identity':
      return 'waiting-for-identity';
    case 'unfinished-requests':
      return 'backing-off';
    case 'interval':
    case undefined:
      return 'requesting';
  }
}
