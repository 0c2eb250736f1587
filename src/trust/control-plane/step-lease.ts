import { AgentError, describeError, hasCode } from '../../core/errors.ts';
import { minute, second } from '../../core/instant.ts';
import type { HeldLease, LeaseEnvironment } from '../../pki/unattended/renewal-lease.ts';
import { inspectLease, takeLease } from '../../pki/unattended/renewal-lease.ts';

interface LeaseRequest {
  readonly nodeName: string;
  readonly signal: AbortSignal;
  /** Called with the reason of each wait, which has the name of the holder. */
  readonly onWait: (reason: string) => void;
}

/**
 * Takes the Lease of `certs renew`, so that one control-plane node changes its files at a time.
 * Waits while another node holds it, and for a minute if its holder was killed. The pause after a
 * renewal does not count: an administrator watches, and each step checks the control plane itself.
 * Continues while an API server does not answer, because it restarts a few times after a power cut.
 * @throws AgentError API_*, those of an API server that does not answer after a minute; ABORTED
 */
export async function waitForLease(
  environment: LeaseEnvironment,
  request: LeaseRequest,
): Promise<HeldLease> {
  try {
    return await untilTaken(environment, request);
  } catch (error) {
    if (!request.signal.aborted) throw error;
    throw new AgentError('ABORTED', 'the wait for the Lease was interrupted; nothing was changed', {
      remedy: 'Run the same command again',
    });
  }
}

async function untilTaken(
  environment: LeaseEnvironment,
  { nodeName, signal, onWait }: LeaseRequest,
): Promise<HeldLease> {
  let shown = '';
  const onHeld = (reason: string): void => {
    if (reason !== shown) onWait(reason);
    shown = reason;
  };
  const { clock } = environment;
  let answeredAt = clock.elapsed();
  for (;;) {
    try {
      const found = await inspectLease({ ...environment, onHeld }, signal);
      const taken =
        found.kind === 'waiting'
          ? found
          : await takeLease(environment, found, { nodeName, signal });
      if (taken.kind === 'held') return taken;
      onHeld(taken.reason);
      answeredAt = clock.elapsed();
    } catch (error) {
      const isOver = clock.elapsed() - answeredAt >= minute;
      if (isOver || !hasCode(error, ...unanswered)) throw error;
      onHeld(describeError(error));
    }
    await clock.sleep(interval, signal);
  }
}

const interval = 2 * second;
const unanswered = ['API_UNREACHABLE', 'API_TIMEOUT', 'API_SERVER_ERROR'] as const;
