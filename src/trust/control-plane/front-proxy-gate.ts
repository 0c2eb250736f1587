import { formatHostPort } from '../../core/host-port.ts';
import { isSameAuthority } from '../../core/trust-bundle.ts';
import { shortFingerprint } from '../../core/trust.ts';
import type { GateReason, RolloverAuthorities, RolloverSide } from '../cluster/gate.ts';
import { sideNames } from '../cluster/gates/verdict.ts';
import type { ProbeResult } from '../cluster/probes.ts';
import { applyCommand } from './apply-command.ts';
import { configMapOfClients } from './client-authorities-task.ts';
import type { FrontProxyFacts, ProbedApi } from './front-proxy-facts.ts';
import { proxyCertificate } from './front-proxy-trust.ts';

/** The two CAs, and what the administrator has confirmed. */
export interface FrontProxyQuestion {
  readonly authorities: Required<RolloverAuthorities>;
  /** The names of Nodes and APIServices. */
  readonly except: ReadonlySet<string>;
}

type State = 'waiting' | 'harmful';

/**
 * Why a kube-apiserver may not use a certificate from this CA as a front proxy: a server would reject it.
 * It is harmful if a kube-apiserver uses one already.
 */
export function rejectionsOf(
  side: RolloverSide,
  facts: FrontProxyFacts,
  question: FrontProxyQuestion,
): GateReason[] {
  const isUsed = side === 'next' && facts.others.some((other) => usesNext(other, question));
  const state = isUsed ? 'harmful' : 'waiting';
  return [
    ...unpublished(side, facts, { ...question, state }),
    ...facts.servers
      .filter(({ name }) => !question.except.has(name))
      .flatMap(({ name, ...server }) =>
        rejection(`kube-apiserver on ${name}`, side, {
          result: server[side],
          state,
          remedy: `Run on ${name}: ${trustCommand(side)}`,
        }),
      ),
    ...facts.apis
      .filter(({ name }) => !question.except.has(name))
      .flatMap((api) => rejectionsBy(api, side, state)),
  ];
}

function trustCommand(side: RolloverSide): string {
  return side === 'next' ? applyCommand('trust', 'front-proxy') : undoFinish;
}

const undoFinish = `${applyCommand('finish', 'front-proxy')} --undo`;

/** The node reports a certificate from the new CA. */
export function usesNext(
  { report }: FrontProxyFacts['others'][number],
  { authorities: { next } }: FrontProxyQuestion,
): boolean {
  return report?.frontProxyClient === shortFingerprint(next.fingerprint);
}

function unpublished(
  side: RolloverSide,
  { published }: FrontProxyFacts,
  { authorities, state }: FrontProxyQuestion & { readonly state: State },
): GateReason[] {
  if (published.some((one) => isSameAuthority(one, authorities[side]))) return [];
  return [
    {
      state,
      message: `${configMapOfClients} lacks ${sideNames[side]} in requestheader-client-ca-file, which extension API servers read`,
      remedy: `Run on each control-plane node: ${trustCommand(side)}`,
    },
  ];
}

function rejectionsBy(
  { name, unavailable, servers }: ProbedApi,
  side: RolloverSide,
  state: State,
): GateReason[] {
  const except = `or ignore this API: --except ${name}`;
  if (unavailable !== undefined) {
    return [
      {
        state: 'waiting',
        message: `the APIService ${name} is not Available: ${unavailable}`,
        remedy: `Find out why: kubectl describe apiservice ${name}; ${except}`,
      },
    ];
  }
  if (servers.length === 0) {
    return [
      {
        state: 'waiting',
        message: `the Service of the APIService ${name} has no ready endpoint that can be checked`,
        remedy: `Check that its servers read ${configMapOfClients}; then ignore this API: --except ${name}`,
      },
    ];
  }
  return servers.flatMap((server) =>
    rejection(`the extension API server ${formatHostPort(server)} of ${name}`, side, {
      result: server[side],
      state,
      remedy: `Restart it if it reads ${configMapOfClients} only when it starts, or give it ${sideNames[side]} if it has its own CA file; ${except}`,
    }),
  );
}

function rejection(
  place: string,
  side: RolloverSide,
  {
    result,
    state,
    remedy,
  }: { readonly result: ProbeResult; readonly state: State; readonly remedy: string },
): GateReason[] {
  switch (result.kind) {
    case 'accepted':
      return [];
    case 'rejected':
      return [
        { state, message: `${place} rejects ${proxyCertificate} from ${sideNames[side]}`, remedy },
      ];
    case 'failed':
      return [
        { state: 'waiting', message: `${place} does not answer a probe: ${result.reason}`, remedy },
      ];
    case 'no-key':
      return [
        {
          state: 'waiting',
          message: `${place} cannot be probed, because the key of ${sideNames[side]} is not on this node`,
        },
      ];
    default:
      return result satisfies never;
  }
}

/**
 * The API servers of which it is unknown whether they accept the removed CA. The last node that does the
 * step `finish` or `abort` deletes the ConfigMap, so each node has to know whether it is the last one.
 * Before `finish`, a server that answers no probe at all is among the rejections already.
 */
export function unanswered(
  side: RolloverSide,
  { servers }: FrontProxyFacts,
  { except }: FrontProxyQuestion,
): GateReason[] {
  return servers
    .filter(({ name, next }) => !except.has(name) && (side === 'next' || next.kind !== 'failed'))
    .flatMap(({ name, [side]: result }): GateReason[] =>
      result.kind !== 'failed'
        ? []
        : [
            {
              state: 'waiting',
              message: `kube-apiserver on ${name} does not answer a probe: ${result.reason}`,
              remedy: `Run this command again; or ignore this node: --except ${name}`,
            },
          ],
    );
}

/** The control-plane nodes whose kube-apiserver still uses a certificate from the old CA. */
export function oldProxies(facts: FrontProxyFacts, question: FrontProxyQuestion): GateReason[] {
  return withoutNext(facts, question).map(({ name, report }) => ({
    state: 'waiting',
    message: `the node ${name} ${
      report?.frontProxyClient === undefined ? 'has not reported' : 'has not reported the new CA as'
    } the issuer of its certificate front-proxy-client`,
    remedy: `Run on ${name}, which also reports the issuer: ${applyCommand('switch', 'front-proxy')}; or ignore this node: --except ${name}`,
  }));
}

/** The control-plane nodes that do not report a certificate from the new CA. */
export function withoutNext(
  { others }: Pick<FrontProxyFacts, 'others'>,
  question: FrontProxyQuestion,
): FrontProxyFacts['others'] {
  return others.filter((other) => !question.except.has(other.name) && !usesNext(other, question));
}

/**
 * The new CA cannot leave a node while a kube-apiserver uses a certificate from it. A node that reports no
 * issuer may have been interrupted while it replaced its certificate.
 */
export function nextProxies(
  facts: FrontProxyFacts,
  question: FrontProxyQuestion,
  isNextUsedHere = false,
): GateReason[] {
  const old = shortFingerprint(question.authorities.old.fingerprint);
  const users = facts.others
    .filter(({ name }) => !question.except.has(name))
    .filter(({ report }) => report !== undefined && report.frontProxyClient !== old)
    .map(({ name }) => name);
  const own = facts.servers.filter(({ isOwn }) => isOwn && isNextUsedHere).map(({ name }) => name);
  if (users.length + own.length === 0) return [];
  return [
    {
      state: 'waiting',
      message: 'kube-apiserver may use a front-proxy-client certificate from the new CA',
      remedy: `Run on each of these nodes first: ${applyCommand('abort', 'front-proxy')}`,
      objects: [...own, ...users],
    },
  ];
}
