import { areGoProgramsBuilt } from '../support/go-program.ts';
import { skipWithoutKubeadmCluster } from '../support/kubeadm-cluster.ts';
import { findProgram } from '../support/programs.ts';
import { skipWithoutRealControlPlane } from '../support/real-control-plane.ts';
import type { FaultFamily, FaultNeed } from './family.ts';

/** The needs of a family that this machine lacks. */
export function missingNeeds({ needs }: FaultFamily): readonly FaultNeed[] {
  return needs.filter((need) => !present(need));
}

function present(need: FaultNeed): boolean {
  switch (need) {
    case 'root':
      return process.getuid?.() === 0;
    case 'go-programs':
      return areGoProgramsBuilt();
    case 'control-plane':
      return skipWithoutRealControlPlane() === false;
    case 'kubeadm-cluster':
      return skipWithoutKubeadmCluster() === false;
    case 'strace':
      return findProgram('strace') !== undefined;
    case 'libfaketime':
      return findProgram('faketime') !== undefined;
    default:
      return need satisfies never;
  }
}
