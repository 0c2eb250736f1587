import type { Gate, GateReason } from '../gate.ts';
import { gateOf } from './verdict.ts';
import type { ServerProbe } from '../probes.ts';

type Served = Pick<ServerProbe, 'server' | 'served'>;

/** G6: every API server serves a certificate issued by the new CA. */
export function judgeServing(probes: readonly Served[]): Gate {
  return gateOf('G6', [
    ...unreadable(probes),
    ...servedBy(probes, 'old', {
      message: 'kube-apiserver serves a certificate issued by the old CA',
      remedy:
        'When G1 to G4 are open, issue apiserver.crt from the new CA and append the bridge; kube-apiserver reloads it within a second',
    }),
    ...servedBy(probes, 'other', {
      message: 'kube-apiserver serves a certificate issued by neither CA',
      remedy:
        'Check that no load balancer terminates TLS, and find the issuer on that machine: nodecertd certs check-expiration',
    }),
  ]);
}

function unreadable(probes: readonly Served[]): GateReason[] {
  return probes.flatMap(({ server, served }) =>
    served.issuedBy === 'unreadable'
      ? [
          {
            state: 'unknown',
            message: `the certificate of kube-apiserver on ${server.name} could not be read: ${served.reason}`,
            remedy: `Start it, or run the command on a machine that reaches ${server.host}`,
          },
        ]
      : [],
  );
}

function servedBy(
  probes: readonly Served[],
  issuer: 'old' | 'other',
  { message, remedy }: Pick<Required<GateReason>, 'message' | 'remedy'>,
): GateReason[] {
  const objects = probes
    .filter(({ served }) => served.issuedBy === issuer)
    .map(({ server }) => server.name);
  return objects.length === 0 ? [] : [{ state: 'waiting', message, remedy, objects }];
}
