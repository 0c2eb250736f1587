import type { AgentStart, TestNode } from '../../support/agent.ts';
import type { ApiClient } from '../../support/api-client.ts';
import type { KeyPair } from '../../support/cluster-pki.ts';
import type { ControlPlane } from '../../support/control-plane.ts';
import type { FaultProxy } from '../../support/fault-proxy.ts';
import type { SettableClock } from '../clock/settable-clock.ts';
import type { ApiFault, Place, Situation } from './fault.ts';
import type { Issuer } from './issuer.ts';

/** The parts that all trials share. */
export interface ApiBench {
  readonly controlPlane: ControlPlane;
  readonly admin: ApiClient;
  readonly adminPair: KeyPair;
  readonly issuer: Issuer;
  readonly start: AgentStart;
}

export interface ApiTrial {
  readonly fault: ApiFault;
  readonly situation: Situation;
  readonly place: Place;
  /** The name of the node, unique among the trials. */
  readonly name: string;
}

/** The parts of one trial. */
export interface Stage {
  readonly bench: ApiBench;
  readonly trial: ApiTrial;
  readonly proxy: FaultProxy;
  readonly node: TestNode;
  readonly clock: SettableClock;
}
