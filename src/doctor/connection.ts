import type { ErrorCode, Failure } from '../core/errors.ts';
import { hasCode } from '../core/errors.ts';
import { formatDuration, minute, second } from '../core/instant.ts';
import type { DoctorFinding } from '../core/findings.ts';
import type { ApiIdentity } from '../kube/access-review.ts';
import { whoAmI } from '../kube/access-review.ts';
import type { KubeClient } from '../kube/rest-client.ts';
import type { CheckResult } from './check.ts';

/** The way to the API server that the agent itself takes. */
export interface ApiPort {
  /** @throws AgentError KUBECONFIG_*, CREDENTIAL_EXPIRED when no credential is worth trying */
  open(): Promise<ApiConnection>;
  /** Local minus server clock in milliseconds, once there was an answer. */
  skewMs(): number | undefined;
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
  /** 'unknown' to servers before 1.28, which answer all the same. */
  readonly identity: CheckResult<ApiIdentity | 'unknown'>;
  readonly skewMs?: number;
}

/** Who the API server takes the client for; 'unknown' when it has no such review. */
export async function identify(
  client: KubeClient,
  signal: AbortSignal,
): Promise<ApiIdentity | 'unknown'> {
  try {
    return await whoAmI(client, signal);
  } catch (error) {
    if (hasCode(error, 'API_NOT_FOUND', 'API_FORBIDDEN')) return 'unknown';
    throw error;
  }
}

/** Why there is no client with a credential. The check of the kubeconfig reports a file that cannot be used. */
export function openingFindings(failure: Failure): DoctorFinding[] {
  const isOfFile = ['KUBECONFIG_', 'CREDENTIAL_'].some((prefix) => failure.code.startsWith(prefix));
  const found = isOfFile ? undefined : connectionFailure(failure, 'kubeconfig');
  return found === undefined ? [] : [found];
}

export function connectionFindings(
  { server, proxy, source, identity, skewMs }: ConnectionFacts,
  nodeName: string,
): DoctorFinding[] {
  const skew = skewMs === undefined ? [] : skewFindings(skewMs);
  if (identity.kind === 'failed') {
    const failed = connectionFailure(identity.failure, source);
    return failed === undefined ? skew : [failed, ...skew];
  }
  const { value } = identity;
  const findings = [...identityFindings(value, source, nodeName), ...skew];
  if (findings.length > 0) return findings;
  const via = proxy === undefined ? '' : ` through proxy ${proxy}`;
  const who = value === 'unknown' ? 'answers' : `takes this node for ${value.username}`;
  return [{ id: 'api-server', severity: 'ok', what: `${server}${via} ${who}; the clocks agree` }];
}

interface Meaning {
  readonly id: DoctorFinding['id'];
  readonly why: string;
}

const meanings: Partial<Record<ErrorCode, Meaning>> = {
  API_UNREACHABLE: {
    id: 'api-unreachable',
    why: 'Certificates can be neither asked for nor renewed until it answers',
  },
  API_TIMEOUT: {
    id: 'api-unreachable',
    why: 'Certificates can be neither asked for nor renewed until it answers',
  },
  PLUGIN_FAILED: {
    id: 'plugin-failed',
    why: 'The exec plugin gives no credential: a kubelet with this kubeconfig fails in the same way',
  },
  API_UNTRUSTED: {
    id: 'api-untrusted',
    why: 'The CA in the kubeconfig is not the one that signed the certificate of the server: the CA was rotated, or this is another cluster',
  },
  API_UNAUTHORIZED: {
    id: 'api-identity-refused',
    why: 'The certificate was signed by another CA than the one that the API server trusts for clients, or it has expired',
  },
};

/** Undefined for what is told elsewhere: a bootstrap credential that is refused. */
function connectionFailure(
  { code, message, remedy }: Failure,
  source: ApiConnection['source'],
): DoctorFinding | undefined {
  if (code === 'API_UNAUTHORIZED' && source === 'bootstrap') return undefined;
  const { id, why } = meanings[code] ?? {
    id: 'api-troubled',
    why: 'Requests for certificates may fail in the same way',
  };
  const shown = remedy === undefined ? {} : { remedy };
  return { id, severity: 'error', what: message, why, ...shown };
}

/** kubesolo #56: a kubeconfig copied from another node is good for that node's name only. */
function identityFindings(
  identity: ApiIdentity | 'unknown',
  source: ApiConnection['source'],
  nodeName: string,
): DoctorFinding[] {
  const wanted = `system:node:${nodeName}`;
  // The bootstrap credential is judged with its kubeconfig.
  if (identity === 'unknown' || source === 'bootstrap' || identity.username === wanted) return [];
  const { username } = identity;
  const isNode = username.startsWith('system:node:');
  return [
    {
      id: 'node-name-mismatch',
      severity: isNode ? 'error' : 'warning',
      subject: 'API server',
      what: `the API server takes this node for ${username}, the configuration says ${wanted}`,
      why: isNode
        ? 'A node may ask for certificates in its own name only: the API server refuses the next request'
        : 'The node authorizer and the approver know nodes by that name',
      remedy: isNode
        ? `set nodeName (--hostname-override) to ${username.slice('system:node:'.length)}, or bootstrap anew under the right name`
        : 'Use a kubeconfig of this node, or the bootstrap kubeconfig',
    },
  ];
}

/** The signers backdate by five minutes (k/k pkg/controller/certificates/authority). */
const backdating = 5 * minute;

/** Differences below this matter to nobody, and the Date header has whole seconds. */
const noticeable = 30 * second;

function skewFindings(ms: number): DoctorFinding[] {
  if (Math.abs(ms) < noticeable) return [];
  const behind = ms < 0;
  const severe = behind && -ms > backdating;
  return [
    {
      id: 'clock-skew',
      severity: severe ? 'error' : 'warning',
      what: `the clock of this node is ${formatDuration(Math.abs(ms))} ${behind ? 'behind' : 'ahead of'} that of the API server`,
      why: behind
        ? 'A certificate counts as not yet valid when it is issued, once the difference is above five minutes'
        : 'Certificates and tokens seem to expire earlier than they do, and rotate that much earlier',
      remedy: 'timedatectl set-ntp true && timedatectl timesync-status',
    },
  ];
}
