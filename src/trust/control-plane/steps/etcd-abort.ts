import type { EtcdGateId, Gate } from '../../cluster/gate.ts';
import { gateOf } from '../../cluster/gates/verdict.ts';
import { uploadedCertificatesTask } from '../cluster-tasks.ts';
import { readNodesWithOwn } from '../control-plane-nodes.ts';
import { notServing, unconfirmedClients } from '../etcd/gates.ts';
import { isOwn, viewEtcd } from '../etcd/view.ts';
import { abortElsewhere } from './abort-elsewhere.ts';
import type { Judged } from './etcd.ts';
import { interruptionNotes, memberReasons, membersGate } from './etcd.ts';
import { lostOld } from './etcd-undo.ts';
import type { AbortQuestion, StepCluster } from './step-cluster.ts';

/** The part of the cluster in the step `abort` of the CA `etcd`. @throws AgentError as viewEtcd */
export async function etcdAbort(question: AbortQuestion): Promise<StepCluster> {
  const { latest, node, request, options } = question;
  const nodes = await readNodesWithOwn(request);
  const view = await viewEtcd(node, request);
  const serving = view.probes.filter(
    ({ member, served }) => served.issuedBy === 'next' && !isOwn(view, member),
  );
  return {
    tasks: await uploadedCertificatesTask(request),
    nodes,
    notes: latest === 'trust' ? interruptionNotes(view, options) : [],
    judge: async (restarts) => ({
      gates: gatesBack(question, { view, restarts }),
      reasons: latest === 'switch' ? await lostOld(node, view, request) : [],
      commands: abortElsewhere(
        { latest, ca: 'etcd' },
        {
          others: nodes.others,
          switched: new Set(serving.map(({ member }) => member.name)),
        },
      ),
    }),
  };
}

/** E3 and E4 with the CAs swapped: this member then rejects certificates from the new CA. */
export function gatesBack(
  { latest, options }: Pick<AbortQuestion, 'latest' | 'options'>,
  judged: Judged,
): readonly Gate<EtcdGateId>[] {
  const { view } = judged;
  const change = latest === 'switch' ? 'undo switch' : 'undo trust';
  const members = membersGate(memberReasons(change, view, 'repaired'), judged, options);
  if (latest === 'switch') return [members];
  const issued = gateOf('E3', notServing('old', view.probes));
  if (latest === 'create') return [members, issued];
  const isConfirmed = options.confirmed.clients === true;
  return [members, issued, gateOf('E4', isConfirmed ? [] : [unconfirmedClients('next')])];
}
