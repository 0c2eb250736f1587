import { droppedAuthorities } from './dropped-authorities.ts';
import { etcdExternal } from './etcd-external.ts';
import { etcdMembers } from './etcd-members.ts';
import { expiredAuthority } from './expired-authority.ts';
import { hiddenFaults } from './hidden-faults.ts';
import { kubeadmAbort } from './kubeadm-abort.ts';
import { kubeadmAbsentControlPlane } from './kubeadm-absent-control-plane.ts';
import { kubeadmAbsentWorker } from './kubeadm-absent-worker.ts';
import { kubeadmAllCas } from './kubeadm-all-cas.ts';
import { kubeadmApply } from './kubeadm-apply.ts';
import { kubeadmEtcd, kubeadmEtcdSingle } from './kubeadm-etcd.ts';
import { kubeadmExternalCa } from './kubeadm-external-ca.ts';
import { kubeadmFrontProxy } from './kubeadm-front-proxy.ts';
import { kubeadmMidway } from './kubeadm-midway.ts';
import { kubeadmPlan } from './kubeadm-plan.ts';
import { kubeadmPowerCut, kubeadmPowerCutOfOne } from './kubeadm-power-cut.ts';
import { kubeadmReturn } from './kubeadm-return.ts';
import { kubeadmUndo, kubeadmUndoFinish } from './kubeadm-undo.ts';
import { lateNodes } from './late-nodes.ts';
import { rightOrder } from './right-order.ts';
import type { Scenario } from './scenario.ts';
import { servingCertificates } from './serving-certificates.ts';
import { whole } from './whole.ts';
import { wrongOrders } from './wrong-orders.ts';

/** In the order of `make rollover`. */
export const scenarios: readonly Scenario[] = [
  hiddenFaults,
  rightOrder,
  wrongOrders,
  etcdMembers,
  etcdExternal,
  lateNodes,
  servingCertificates,
  droppedAuthorities,
  expiredAuthority,
  whole,
  kubeadmPlan,
  kubeadmApply,
  kubeadmReturn,
  kubeadmAllCas,
  kubeadmAbsentControlPlane,
  kubeadmAbsentWorker,
  kubeadmPowerCut,
  kubeadmPowerCutOfOne,
  kubeadmUndo,
  kubeadmUndoFinish,
  kubeadmMidway,
  kubeadmExternalCa,
  kubeadmFrontProxy,
  kubeadmEtcdSingle,
  kubeadmEtcd,
  kubeadmAbort,
];
