import { hasCode } from '../core/errors.ts';
import { aborted } from '../kube/deadline.ts';

export type Task = (signal: AbortSignal) => Promise<unknown>;

/**
 * Runs tasks until the signal fires or one of them fails, which ends the others. Waits for all.
 * @throws the first error that is not ABORTED
 */
export async function runTasks(signal: AbortSignal, tasks: readonly Task[]): Promise<void> {
  const failed = new AbortController();
  const inner = AbortSignal.any([signal, failed.signal]);
  const results = await Promise.allSettled(
    tasks.map(async (task) => {
      try {
        await task(inner);
      } catch (error) {
        failed.abort();
        throw error;
      }
    }),
  );
  for (const result of results) {
    if (result.status === 'rejected' && !hasCode(result.reason, 'ABORTED')) throw result.reason;
  }
}

/** Waits for the promise. @throws AgentError ABORTED when the signal fires first */
export async function unlessAborted(
  promise: Promise<unknown>,
  { what, signal }: { readonly what: string; readonly signal: AbortSignal },
): Promise<void> {
  const canceled = Promise.withResolvers<void>();
  const cancel = (): void => {
    canceled.resolve();
  };
  signal.addEventListener('abort', cancel, { once: true });
  if (signal.aborted) cancel();
  await Promise.race([promise, canceled.promise]);
  signal.removeEventListener('abort', cancel);
  if (signal.aborted) throw aborted(what, signal);
}
