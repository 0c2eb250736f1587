import type { Gate } from '../../src/trust/cluster/gate.ts';
import type { RolloverView } from '../../src/trust/cluster/rollover.ts';
import { clusterState } from '../support/rollover-state.ts';
import { makeTestAuthority } from '../trust/node/authority.ts';

const old = makeTestAuthority({ subject: '/CN=kubernetes' }).authority;
const next = makeTestAuthority({ subject: '/CN=kubernetes 2026-11' }).authority;

/** What the commands show of a cluster with these gates; with one CA if there are none. */
export function rolloverView(gates: readonly Gate[]): RolloverView {
  return {
    server: 'https://10.0.0.1:6443',
    authorities: gates.length === 0 ? { old } : { old, next },
    state: clusterState(),
    probes: [],
    local: {
      isControlPlane: false,
      leaves: [],
      signingFiles: [],
      trustFiles: [],
      kubeconfigs: [],
      keys: [],
    },
    others: { reported: [], hidden: [] },
    gates,
  };
}
