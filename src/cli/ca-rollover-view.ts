import { gateOf } from '../trust/cluster/gates/verdict.ts';
import type { RolloverQuestion } from '../trust/cluster/rollover.ts';
import { viewRollover } from '../trust/cluster/rollover.ts';
import { lostAuthority } from '../trust/control-plane/repair.ts';
import type { ShownRollover } from './ca-rollover-report.ts';

/**
 * The gates. If kube-apiserver rejects the administrator because a file of this node lacks a CA, only G1
 * with this reason.
 * @throws AgentError as viewRollover
 */
export async function viewGates(question: RolloverQuestion): Promise<ShownRollover> {
  try {
    return await viewRollover(question);
  } catch (error) {
    const reason = await lostAuthority(error, question.directories);
    if (reason === undefined) throw error;
    return { server: question.access.cluster.server, gates: [gateOf('G1', [reason])] };
  }
}
