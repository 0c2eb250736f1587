import { X509Certificate } from 'node:crypto';
import type { CsrRecord } from './csr-cleaning.ts';
import { cleaningInterval, cleaningReason } from './csr-cleaning.ts';
import { hasCode } from '../../src/core/errors.ts';
import type { Clock } from '../../src/sys/clock.ts';
import type { CsrObject } from './api-object.ts';
import type { Registry } from './registry.ts';
import { deleteObject } from './registry.ts';

/**
 * Deletes old CSRs at once and then every hour, until the signal aborts. A real cluster
 * deletes pending CSRs, too.
 */
export async function runCsrCleaner(
  { csrs, clock }: { readonly csrs: Registry<CsrObject>; readonly clock: Clock },
  signal: AbortSignal,
): Promise<void> {
  try {
    for (;;) {
      for (const csr of csrs.store.list()) {
        if (cleaningReason(recordOf(csr), clock.now()) === undefined) continue;
        deleteObject(csrs, csr.metadata.name);
      }
      await clock.sleep(cleaningInterval, signal);
    }
  } catch (error) {
    if (!hasCode(error, 'ABORTED')) throw error;
  }
}

function recordOf({ metadata, status }: CsrObject): CsrRecord {
  const { conditions = [], certificate } = status;
  return {
    createdAt: Date.parse(metadata.creationTimestamp),
    conditions: conditions.map(({ type, lastUpdateTime }) => ({
      type,
      updatedAt: Date.parse(lastUpdateTime ?? ''),
    })),
    ...(certificate !== undefined && { notAfter: endOf(certificate) }),
  };
}

/** The end of the leaf. The API accepts only certificates here. */
function endOf(certificate: string): number {
  return new X509Certificate(Buffer.from(certificate, 'base64')).validToDate.getTime();
}
