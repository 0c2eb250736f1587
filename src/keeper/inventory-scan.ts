import { minute } from '../core/instant.ts';
import type { Clock } from '../sys/clock.ts';
import type { OwnCommandEnd } from './own-command.ts';
import { runOwnCommand } from './own-command.ts';

export interface InventoryScanOptions {
  /** The nodecertd program: an absolute path and its first arguments. */
  readonly program: readonly string[];
  /** Paths and glob patterns of further files. */
  readonly paths: readonly string[];
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/** Runs `nodecertd certs check-expiration` and returns its series for Prometheus. */
export async function scanInventory(options: InventoryScanOptions): Promise<OwnCommandEnd> {
  const scan = await runOwnCommand({
    ...options,
    args: scanArguments(options.paths),
    // Certificates that need attention have the exit codes 3 and 4.
    resultCodes: new Set([0, 3, 4]),
    // A file system that does not respond blocks the command.
    timeoutMs: 5 * minute,
    // The command changes nothing, so it can be killed at any time.
    graceMs: 0,
    // The series of about 100,000 certificates.
    outputLimit: 64,
  });
  if (scan.kind === 'failed' || lastLine.test(scan.text)) return scan;
  return { kind: 'failed', reason: 'printed an incomplete inventory' };
}

function scanArguments(paths: readonly string[]): string[] {
  const further = paths.flatMap((path) => ['--path', path]);
  return ['certs', 'check-expiration', '--output', 'prometheus', ...further];
}

/** The command prints this series last. */
const lastLine = /^nodecertd_inventory_last_scan_timestamp_seconds \S+\n$/m;
