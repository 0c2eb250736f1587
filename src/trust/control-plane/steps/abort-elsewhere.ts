import { applyCommand, applyOn } from '../apply-command.ts';
import type { ControlPlaneNode } from '../control-plane-nodes.ts';
import { reportedNext } from '../new-authority-report.ts';
import type { CaName } from '../task.ts';
import type { AbortQuestion } from './step-cluster.ts';

/** What the other control-plane nodes have. */
interface Elsewhere {
  readonly others: readonly ControlPlaneNode[];
  /** The names of those with a certificate from the new CA. */
  readonly switched: Iterable<string>;
}

/**
 * The step `abort` of the CAs `etcd` and `front-proxy` on the other nodes. All of their certificates are on
 * control-plane nodes, so after the last node there is nothing to wait for.
 */
export function abortElsewhere(
  { latest, ca }: Pick<AbortQuestion, 'latest'> & { readonly ca: CaName },
  { others, switched }: Elsewhere,
): string[] {
  if (latest !== 'switch') {
    const behind = others.filter(({ report }) => reportedNext(report, ca) !== undefined);
    return applyOn(
      behind.map(({ name }) => name),
      'abort',
      ca,
    );
  }
  const commands = applyOn(switched, 'abort', ca);
  if (commands.length > 0) return commands;
  return [`${applyCommand('abort', ca)} # again, on each control-plane node`];
}
