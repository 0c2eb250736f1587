import { verbIs } from '../../support/fault-proxy.ts';
import type { ErrorCode } from '../../../src/core/errors.ts';
import type { LogEvent } from '../../../src/core/log-events.ts';
import type { ControlPlane } from '../../support/control-plane.ts';
import type { ApiClient } from '../../support/api-client.ts';
import type { FaultProxy, ProxyFault } from '../../support/fault-proxy.ts';
import type { Issuer } from './issuer.ts';

/** Whether the fault meets the agent at its first certificate or at a rotation. */
export type Situation = 'bootstrap' | 'rotation';

/** Whether it meets the creation of the CSR, the wait for its decision, or every connection. */
export type Place = 'create' | 'wait' | 'connection';

/** The places of faults that can meet every request. */
export const requests: readonly Place[] = ['create', 'wait'];

/** The parts that a fault can use. */
export interface FaultContext {
  readonly proxy: FaultProxy;
  readonly controlPlane: ControlPlane;
  readonly admin: ApiClient;
  readonly issuer: Issuer;
  readonly place: Place;
  /** The agent's clock. */
  readonly agentNow: () => number;
  /** Sets that clock and makes the agent check it. Only for a fault with `longWait`. */
  readonly setAgentClock: (moment: number) => Promise<void>;
}

export interface ApiFault {
  /** A name for operators. */
  readonly name: string;
  readonly places: readonly Place[];
  readonly situations?: readonly Situation[];
  /** The agent's next attempt is minutes away, so its clock is set to that time after the fault. */
  readonly longWait?: boolean;
  /** The agent continues at the end of the fault, without waiting for its clock. */
  readonly resumes?: boolean;
  /**
   * The log and the metrics must contain one of these codes; empty if the agent is not
   * affected.
   */
  readonly codes: readonly ErrorCode[];
  /** Further log events that must have a remedy. */
  readonly events?: readonly LogEvent[];
  /** The number of requests that must meet the fault before it ends; 1 when absent. */
  readonly meets?: number;
  /** The number of unused CSRs that it may leave on the API server. */
  readonly wasted?: number;
  /** Whether the fault is for the serving certificate; a client certificate when absent. */
  readonly serving?: boolean;
  /** The minimum time in seconds between the first two requests that meet it. */
  readonly asked?: number;
  /** Takes minutes of real time; for `make fault` only. */
  readonly slow?: boolean;
  /** Measures the enroller's memory. */
  readonly memory?: boolean;
  /** The certificate stored after the fault is a valid one of the issuer. */
  readonly storesForged?: boolean;
  begin(context: FaultContext): Promise<void> | void;
  /** Runs after the fault was met and before it ends. */
  meanwhile?(context: FaultContext): Promise<void> | void;
  end?(context: FaultContext): Promise<void> | void;
}

/** A fault of the requests at the place under test. */
export function served(serve: ProxyFault['serve']): Pick<ApiFault, 'begin'> {
  return {
    begin: ({ proxy, place }) => {
      proxy.set({ meets: place === 'create' ? verbIs('create') : verbIs('watch', 'get'), serve });
    },
  };
}
