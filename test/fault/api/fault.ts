import type { ErrorCode } from '../../../src/core/errors.ts';
import type { LogEvent } from '../../../src/core/log-events.ts';
import type { ControlPlane } from '../../support/control-plane.ts';
import type { ApiClient } from '../../support/api-client.ts';
import type { FaultProxy, ProxyFault } from '../../support/fault-proxy.ts';
import type { Issuer } from './issuer.ts';

/** When the fault meets the agent: at its first certificate, or at one that takes the place of another. */
export type Situation = 'bootstrap' | 'rotation';

/** What it meets: the request for a certificate, the wait for its decision, or everything. */
export type Place = 'create' | 'wait' | 'connection';

/** For faults that can meet every request. */
export const requests: readonly Place[] = ['create', 'wait'];

/** What a fault can make use of. */
export interface FaultContext {
  readonly proxy: FaultProxy;
  readonly controlPlane: ControlPlane;
  readonly admin: ApiClient;
  readonly issuer: Issuer;
  readonly place: Place;
  /** The agent's clock. */
  readonly agentNow: () => number;
  /** Sets that clock, which only a fault with a `longWait` may, and has the agent look at it. */
  readonly setAgentClock: (moment: number) => Promise<void>;
}

export interface ApiFault {
  /** As an operator would name it. */
  readonly name: string;
  readonly places: readonly Place[];
  readonly situations?: readonly Situation[];
  /** The agent's next try is minutes away: once the fault is over, its clock is set to that moment. */
  readonly longWait?: boolean;
  /** The end of the fault is all that it takes, however the clock was set. */
  readonly resumes?: boolean;
  /** One of which the log has to name and the metrics to count; none where the agent takes no harm. */
  readonly codes: readonly ErrorCode[];
  /** Lines with a remedy that the log has besides. */
  readonly events?: readonly LogEvent[];
  /** Requests that have to meet it before it ends; 1 when absent. */
  readonly meets?: number;
  /** Requests for a certificate that it may leave on the API server beside the one that is issued in the end. */
  readonly wasted?: number;
  /** The certificate that is asked for also has names; a client certificate when absent. */
  readonly serving?: boolean;
  /** Least time in seconds between the first two requests that met it. */
  readonly asked?: number;
  /** Needs minutes of real time; for `make fault` only. */
  readonly slow?: boolean;
  /** The enroller's memory is measured. */
  readonly memory?: boolean;
  /** What comes of it once the fault is over is the issuer's certificate, and right. */
  readonly storesForged?: boolean;
  begin(context: FaultContext): Promise<void> | void;
  /** What happens once it was met and before it ends. */
  meanwhile?(context: FaultContext): Promise<void> | void;
  end?(context: FaultContext): Promise<void> | void;
}

/** A fault of single requests at the place that is tried. */
export function served(serve: ProxyFault['serve']): Pick<ApiFault, 'begin'> {
  return {
    begin: ({ proxy, place }) => {
      proxy.set({ verbs: place === 'create' ? ['create'] : ['watch', 'get'], serve });
    },
  };
}
