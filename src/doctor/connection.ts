import { authorityName } from '../core/trust.ts';
import type { CaPin } from '../core/ca-pin.ts';
import type { AgentConfig } from '../core/config.ts';
import type { ErrorCode, Failure } from '../core/errors.ts';
import { formatDuration, minute, second } from '../core/instant.ts';
import type { DoctorFinding } from '../core/findings.ts';
import { discoverRemedy, withPins } from '../core/remedies.ts';
import type { ApiIdentity } from '../kube/access-review.ts';
import { nodeNameRemedy, nodeOfUser } from '../kube/api-user.ts';
import type { KubeClient } from '../kube/rest-client.ts';
import type { CheckResult } from './check.ts';
import { failureFinding } from './check.ts';
import type { TrustFacts } from './trust.ts';

/** The connection that the agent itself uses. */
export interface ApiPort {
  /** @throws AgentError KUBECONFIG_*, CREDENTIAL_EXPIRED without a usable credential */
  open(): Promise<ApiConnection>;
  /** Local clock minus server clock in milliseconds; undefined before the first answer. */
  skewMs(): number | undefined;
  /** No cluster entry of the node verifies the API server, and a discovery did not help. */
  trustLost(): boolean;
}

export interface ApiConnection {
  readonly client: KubeClient;
  readonly source: 'kubeconfig' | 'bootstrap';
}

export interface ConnectionFacts {
  readonly server: string;
  /** Without its password; absent for a direct connection. */
  readonly proxy?: string;
  readonly source: ApiConnection['source'];
  /** 'unknown' on a server without SelfSubjectReview. */
  readonly identity: CheckResult<ApiIdentity | 'unknown'>;
  readonly skewMs?: number;
}

/**
 * Opens the connection and obtains its credential, so that the time of an exec plugin does
 * not count as time of the API server.
 * @throws AgentError KUBECONFIG_*, CREDENTIAL_EXPIRED, PLUGIN_FAILED, ABORTED
 */
export async function connect(
  api: Pick<ApiPort, 'open'>,
  signal: AbortSignal,
): Promise<ApiConnection> {
  const connection = await api.open();
  await connection.client.authenticate(signal);
  return connection;
}

/** Why there is no client with a credential. The check of the kubeconfig reports a file that cannot be used. */
export function openingFindings(failure: Failure): DoctorFinding[] {
  const isOfFile = ['KUBECONFIG_', 'CREDENTIAL_'].some((prefix) => failure.code.startsWith(prefix));
  const found = isOfFile ? undefined : connectionFailure(failure, 'kubeconfig');
  return found === undefined ? [] : [found];
}

export function connectionFindings(
  { server, proxy, source, identity, skewMs }: ConnectionFacts,
  own: OwnIdentity,
): DoctorFinding[] {
  const skew = skewMs === undefined ? [] : skewFindings(skewMs);
  if (identity.kind === 'failed') {
    const failed = connectionFailure(identity.failure, source, own);
    return failed === undefined ? skew : [failed, ...skew];
  }
  const { value } = identity;
  const findings = [...identityFindings(value, source, own.nodeName), ...skew];
  if (findings.length > 0) return findings;
  const via = proxy === undefined ? '' : ` through proxy ${proxy}`;
  const answer = value === 'unknown' ? 'answers' : `accepts this node as ${value.username}`;
  return [
    { id: 'api-server', severity: 'ok', what: `${server}${via} ${answer}; the clocks agree` },
  ];
}

export interface OwnIdentity {
  readonly nodeName: string;
  /** The CA that issued the client certificate, if it is known. */
  readonly clientIssuer?: TrustFacts['clientIssuer'];
  /** How the node gets another certificate with a bootstrap token. */
  readonly discover?: string;
}

/** During a CA rollover, the API server may have dropped the old CA too early. */
function refusedFinding(
  failure: Failure,
  { clientIssuer, discover }: Pick<OwnIdentity, 'clientIssuer' | 'discover'>,
): DoctorFinding {
  const { remedy = '' } = failure;
  const name =
    clientIssuer === undefined ? 'the CA of the client certificate' : authorityName(clientIssuer);
  const token =
    discover === undefined ? '' : `; to give this node another certificate: ${discover}`;
  return failureFinding(
    {
      ...failure,
      remedy: `${remedy}; if the CA of the cluster was replaced, add ${name} to the file of kube-apiserver --client-ca-file until this node has another certificate${token}`,
    },
    {
      id: 'api-identity-refused',
      severity: 'error',
      why: `The API server does not trust ${name}, or the certificate has expired`,
    },
  );
}

interface Meaning {
  readonly id: DoctorFinding['id'];
  readonly why: string;
}

const noAnswer: Meaning = {
  id: 'api-unreachable',
  why: 'nodecertd cannot request certificates until the API server answers',
};

const meanings: Partial<Record<ErrorCode, Meaning>> = {
  API_UNREACHABLE: noAnswer,
  API_TIMEOUT: noAnswer,
  PLUGIN_FAILED: {
    id: 'plugin-failed',
    why: 'The exec plugin returns no credential: a kubelet with this kubeconfig fails in the same way',
  },
  API_UNTRUSTED: {
    id: 'api-untrusted',
    why: 'nodecertd sends nothing to a server that it cannot verify, so it cannot request certificates',
  },
  CLUSTER_UNTRUSTED: {
    id: 'api-untrusted',
    why: 'Nothing proves that this is the right cluster, so nodecertd sends it no token and no request',
  },
  TOKEN_REJECTED: {
    id: 'bootstrap-refused',
    why: 'The node has no usable certificate and cannot get one without a valid token',
  },
  API_BAD_RESPONSE: {
    id: 'api-troubled',
    why: 'The server that answers is not a Kubernetes API server, so nodecertd cannot request certificates',
  },
  API_ANONYMOUS: {
    id: 'api-identity-refused',
    why: 'Without an identity this node can neither request certificates nor run pods',
  },
};

/**
 * The node can neither verify its API server nor get a new certificate. `nodecertd discover` brings
 * it back from any of these failures, unless the address of the server is wrong.
 */
export function trustLostFinding(
  failure: Failure,
  {
    config,
    server,
    pins,
  }: {
    readonly config: AgentConfig;
    readonly server?: string | undefined;
    /** The CAs that the node trusts, or that a source of its trust has. */
    readonly pins: readonly CaPin[];
  },
): DoctorFinding {
  const { remedy = '' } = failure;
  const command = discoverRemedy(config, server, pins);
  const hasCommand = remedy.includes('nodecertd discover');
  return failureFinding(
    {
      ...failure,
      remedy: hasCommand
        ? withPins(remedy, pins)
        : `${remedy}; if the CA of the cluster changed: ${command}`,
    },
    {
      id: 'trust-lost',
      severity: 'error',
      why: 'Without a CA that verifies the API server, the node can neither request certificates nor run pods',
    },
  );
}

/** Undefined for a bootstrap credential that is refused: its own check reports that. */
function connectionFailure(
  failure: Failure,
  source: ApiConnection['source'],
  own: Pick<OwnIdentity, 'clientIssuer' | 'discover'> = {},
): DoctorFinding | undefined {
  if (failure.code === 'API_UNAUTHORIZED') {
    return source === 'bootstrap' ? undefined : refusedFinding(failure, own);
  }
  const meaning = meanings[failure.code] ?? {
    id: 'api-troubled',
    why: 'Certificate requests may fail in the same way',
  };
  return failureFinding(failure, { ...meaning, severity: 'error' });
}

/** A kubeconfig copied from another node works for that node's name only (kubesolo #56). */
function identityFindings(
  identity: ApiIdentity | 'unknown',
  source: ApiConnection['source'],
  nodeName: string,
): DoctorFinding[] {
  const wanted = `system:node:${nodeName}`;
  // The check of the bootstrap kubeconfig covers a bootstrap credential.
  if (identity === 'unknown' || source === 'bootstrap' || identity.username === wanted) return [];
  const { username } = identity;
  const node = nodeOfUser(username);
  return [
    {
      id: 'node-name-mismatch',
      severity: node === undefined ? 'warning' : 'error',
      subject: 'API server',
      what: `the API server identifies this node as ${username}, but the configuration says ${wanted}`,
      why:
        node === undefined
          ? 'The node authorizer and approvers identify nodes by the name system:node:NAME'
          : 'The API server lets a node request certificates in its own name only',
      remedy:
        node === undefined
          ? 'Use a kubeconfig of this node, or the bootstrap kubeconfig'
          : nodeNameRemedy(node),
    },
  ];
}

/** Kubernetes' signers backdate certificates by this much (k/k pkg/controller/certificates/authority). */
const backdating = 5 * minute;

/** Smaller differences do no harm, and the Date header only has whole seconds. */
const noticeable = 30 * second;

function skewFindings(ms: number): DoctorFinding[] {
  if (Math.abs(ms) < noticeable) return [];
  const behind = ms < 0;
  const severe = behind && -ms > backdating;
  return [
    {
      id: 'clock-skew',
      severity: severe ? 'error' : 'warning',
      what: `the clock of this node is ${formatDuration(Math.abs(ms))} ${behind ? 'behind' : 'ahead of'} the clock of the API server`,
      why: behind
        ? 'With a difference of more than five minutes, new certificates are not valid yet when they are issued'
        : 'By this clock, certificates and tokens expire too early, and certificates are rotated too early',
      remedy: 'Synchronize the clock: timedatectl set-ntp true && timedatectl timesync-status',
    },
  ];
}
