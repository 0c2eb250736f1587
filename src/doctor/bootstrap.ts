import type { AgentConfig } from '../core/config.ts';
import type { Failure } from '../core/errors.ts';
import type { Instant } from '../core/instant.ts';
import { formatDuration, formatInstant, hour } from '../core/instant.ts';
import type { DoctorFinding, Severity } from '../core/findings.ts';
import { discoverCommand } from '../core/remedies.ts';
import type { ApiIdentity } from '../kube/access-review.ts';
import { nodeNameRemedy, nodeOfUser } from '../kube/api-user.ts';
import type { BootstrapTokenRecord } from '../kube/bootstrap-token.ts';
import { secrecyFindings } from './kubeconfig-findings.ts';
import { failureFinding } from './check.ts';
import type { KubeconfigState, LoadedKubeconfig } from './kubeconfig-state.ts';
import { inspectKubeconfig } from './kubeconfig-state.ts';

/** The bootstrap credential, and what the cluster knows about it. */
export interface BootstrapFacts {
  readonly kubeconfig: KubeconfigState;
  /** The Secret of the token; 'unknown' if the API server was not asked. */
  readonly record: BootstrapTokenRecord | 'absent' | 'forbidden' | 'unknown';
  /** The identity the API server assigns to the credential, or why it refuses it; absent if it was not asked. */
  readonly identity?: ApiIdentity | Failure;
}

/** Reads only the file, without the API server. */
export async function inspectBootstrap({
  bootstrapKubeconfig,
}: AgentConfig): Promise<BootstrapFacts | undefined> {
  if (bootstrapKubeconfig === undefined) return undefined;
  const kubeconfig = await inspectKubeconfig(bootstrapKubeconfig, undefined);
  return { kubeconfig, record: 'unknown' };
}

export interface BootstrapContext {
  readonly now: Instant;
  readonly nodeName: string;
  /** A missing file is no problem: the agent finds the cluster itself, or has removed the file. */
  readonly isOptional: boolean;
  /**
   * True if the node has no usable certificate and so depends on this credential.
   * Otherwise problems are info only, because tokens expire after the node has joined.
   */
  readonly needed: boolean;
}

const newToken = 'kubeadm token create';

export function bootstrapFindings(
  { kubeconfig, record, identity }: BootstrapFacts,
  context: BootstrapContext,
): DoctorFinding[] {
  const severity: Severity = context.needed ? 'error' : 'info';
  const { path } = kubeconfig;
  if (kubeconfig.kind === 'missing') {
    if (context.isOptional) return [];
    return [
      {
        id: 'bootstrap-missing',
        severity,
        what: `the bootstrap kubeconfig ${path} does not exist`,
        why: whyOf(context),
        remedy: `Create a token on a control-plane node (${newToken} --print-join-command), and write ${path}: ${discoverCommand({ endpoints: ['HOST:PORT'], output: path })}`,
      },
    ];
  }
  if (kubeconfig.kind === 'invalid') {
    const meaning = { id: 'bootstrap-invalid', severity, why: whyOf(context) } as const;
    return [failureFinding(kubeconfig.failure, meaning)];
  }
  const findings = [
    ...(expiryFindings(kubeconfig, record, context) ?? refusalFindings(path, identity, context)),
    ...identityFindings(identity, context),
    ...secrecyFindings(kubeconfig),
  ];
  return findings.length > 0 ? findings : [passed(kubeconfig, record, identity)];
}

export function whyOf({ needed }: Pick<BootstrapContext, 'needed'>): string {
  return needed
    ? 'The node has no usable certificate and cannot get one without this credential'
    : 'The node does not need this credential while its certificate is valid, but cannot bootstrap again without it';
}

/** Undefined if the credential has not expired and is not about to. */
function expiryFindings(
  { path, token, certificateExpiry }: LoadedKubeconfig,
  record: BootstrapFacts['record'],
  context: BootstrapContext,
): DoctorFinding[] | undefined {
  const { now, needed } = context;
  const severity: Severity = needed ? 'error' : 'info';
  const why = whyOf(context);
  const remedy = `Put a new token into ${path}: ${newToken}`;
  if (record === 'absent') {
    const id = token?.kind === 'bootstrap' ? token.id : '';
    const what = `the cluster has no bootstrap token ${id}: its Secret kube-system/bootstrap-token-${id} expired or was deleted`;
    return [{ id: 'bootstrap-expired', severity, what, why, remedy }];
  }
  if (typeof record === 'object' && !record.forAuthentication) {
    const what = `the bootstrap token in ${path} does not allow authentication (usage-bootstrap-authentication)`;
    return [{ id: 'bootstrap-refused', severity, what, why, remedy }];
  }
  const end = endOf({ token, certificateExpiry, record });
  if (end === undefined) return undefined;
  const what = `the credential in ${path} ${end <= now ? 'expired' : 'expires'} at ${formatInstant(end)}`;
  if (end <= now) return [{ id: 'bootstrap-expired', severity, what, why, remedy }];
  if (!needed || end - now >= hour) return undefined;
  return [
    {
      id: 'bootstrap-expiring',
      severity: 'warning',
      what: `${what}, in ${formatDuration(end - now)}`,
      why: 'The bootstrap fails if its CSR is not approved before the credential expires',
      remedy,
    },
  ];
}

function endOf({
  token,
  certificateExpiry,
  record,
}: {
  readonly token: LoadedKubeconfig['token'];
  readonly certificateExpiry: Instant | undefined;
  readonly record: BootstrapFacts['record'];
}): Instant | undefined {
  const recorded = typeof record === 'object' ? record.expiration : undefined;
  return recorded ?? (token?.kind === 'other' ? token.expiry : undefined) ?? certificateExpiry;
}

function refusalFindings(
  path: string,
  identity: BootstrapFacts['identity'],
  context: BootstrapContext,
): DoctorFinding[] {
  if (identity === undefined || !('code' in identity)) return [];
  // connectionFindings() reports the failure of a plugin that the node needs now.
  if (identity.code === 'PLUGIN_FAILED' && !context.needed) {
    const meaning = { id: 'plugin-failed', severity: 'info', why: whyOf(context) } as const;
    return [failureFinding(identity, meaning)];
  }
  // connectionFindings() covers an API server that cannot be reached.
  if (identity.code !== 'API_UNAUTHORIZED') return [];
  return [
    {
      id: 'bootstrap-refused',
      severity: context.needed ? 'error' : 'info',
      what: `the API server rejects the credential in ${path}: the token expired, was deleted, or belongs to another cluster`,
      why: whyOf(context),
      remedy: `Put a new token into ${path}: ${newToken}`,
    },
  ];
}

/** k/k #126015: a bootstrap credential that belongs to a node can request certificates for that node only. */
function identityFindings(
  identity: BootstrapFacts['identity'],
  { nodeName, needed }: BootstrapContext,
): DoctorFinding[] {
  if (identity === undefined || 'code' in identity) return [];
  const { username } = identity;
  const certifiedName = nodeOfUser(username);
  if (certifiedName === undefined || certifiedName === nodeName) return [];
  return [
    {
      id: 'node-name-mismatch',
      severity: needed ? 'error' : 'warning',
      subject: 'bootstrap kubeconfig',
      what: `the bootstrap credential belongs to ${username}, but the configuration says system:node:${nodeName}`,
      why: 'The API server refuses the CSR: a node may request certificates in its own name only',
      remedy: nodeNameRemedy(certifiedName, `bootstrap with a token: ${newToken}`),
    },
  ];
}

function passed(
  { path, token, certificateExpiry }: LoadedKubeconfig,
  record: BootstrapFacts['record'],
  identity: BootstrapFacts['identity'],
): DoctorFinding {
  const accepted = identity !== undefined && 'username' in identity;
  const state = accepted ? `is accepted as ${identity.username}` : 'exists';
  const end = endOf({ token, certificateExpiry, record });
  return {
    id: 'bootstrap-credential',
    severity: accepted ? 'ok' : 'info',
    what: `the credential in ${path} ${state} and ${end === undefined ? withoutExpiry(record) : `expires at ${formatInstant(end)}`}`,
  };
}

function withoutExpiry(record: BootstrapFacts['record']): string {
  return typeof record === 'object'
    ? 'does not expire'
    : 'its expiry is unknown (only administrators may read its Secret; use --admin-kubeconfig)';
}
