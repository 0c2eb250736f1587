import type { AgentConfig } from '../core/config.ts';
import type { PairFacts } from '../core/certificate.ts';
import type { DoctorFinding } from '../core/findings.ts';
import type { Instant } from '../core/instant.ts';
import { changeTime, removableFiles } from '../store/used-file.ts';

/** A file that the agent removes after the bootstrap. */
export interface BootstrapFile {
  readonly path: string;
  readonly changedAt: Instant;
}

/** Empty unless `bootstrap.deleteAfterUse` is set. */
export async function inspectLeftovers(config: AgentConfig): Promise<BootstrapFile[]> {
  const files: BootstrapFile[] = [];
  for (const path of removableFiles(config)) {
    const changedAt = await changeTime(path);
    if (changedAt !== undefined) files.push({ path, changedAt });
  }
  return files;
}

/** @param pair the usable client certificate; a newer file waits for the next bootstrap */
export function leftoverFindings(
  files: readonly BootstrapFile[],
  pair: PairFacts | undefined,
): DoctorFinding[] {
  if (pair === undefined) return [];
  return files
    .filter(({ changedAt }) => changedAt <= pair.storedAt)
    .map(({ path }) => ({
      id: 'bootstrap-leftover',
      severity: 'warning',
      subject: path,
      what: `${path} still exists, although bootstrap.deleteAfterUse is true and the node has its client certificate`,
      why: 'Until it expires, a bootstrap token lets its owner add nodes to the cluster',
      remedy: `Remove the file: rm ${path}; or start the agent, and read why it cannot: journalctl -u nodecertd | grep bootstrap_kept`,
    }));
}
