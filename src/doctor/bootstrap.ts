import type { AgentConfig } from '../core/config.ts';
import type { Failure } from '../core/errors.ts';
import type { Instant } from '../core/instant.ts';
import { formatDuration, formatInstant, hour } from '../core/instant.ts';
import type { DoctorFinding, Severity } from '../core/findings.ts';
import type { ApiIdentity } from '../kube/access-review.ts';
import type { BootstrapTokenRecord } from '../kube/bootstrap-token.ts';
import { secrecyFindings } from './kubeconfig-findings.ts';
import type { KubeconfigState } from './kubeconfig-state.ts';
import { inspectKubeconfig } from './kubeconfig-state.ts';

/** The credential for a node without one of its own, and what the cluster says of it. */
export interface BootstrapFacts {
  readonly kubeconfig: KubeconfigState;
  /** The token's Secret; 'unknown' when nobody was there to ask. */
  readonly record: BootstrapTokenRecord | 'absent' | 'forbidden' | 'unknown';
  /** Whom the API server takes the bearer for, or why it refuses; absent when it was not asked. */
  readonly identity?: ApiIdentity | Failure;
}

/** The file alone, without the API server. */
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
  /**
   * There is no usable certificate, so that everything hangs on this. Else what is wrong
   * is worth knowing only: tokens are meant to expire once the node has joined.
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
    return [
      {
        id: 'bootstrap-missing',
        severity,
        what: `there is no bootstrap kubeconfig ${path}`,
        why: whyOf(context),
        remedy: `Write ${path} with a token of: ${newToken}`,
      },
    ];
  }
  if (kubeconfig.kind === 'invalid') {
    const { message, remedy } = kubeconfig.failure;
    return [
      {
        id: 'bootstrap-invalid',
        severity,
        what: message,
        why: whyOf(context),
        ...(remedy !== undefined && { remedy }),
      },
    ];
  }
  const findings = [
    ...(expiryFindings(kubeconfig, record, context) ?? refusalFindings(path, identity, context)),
    ...identityFindings(identity, context),
    ...secrecyFindings(kubeconfig),
  ];
  return findings.length > 0 ? findings : [fine(kubeconfig, record, identity)];
}

function whyOf({ needed }: BootstrapContext): string {
  return needed
    ? 'The node has no usable certificate, and no other way to get one'
    : 'The node does not need it while its certificate is valid, but cannot recover without it';
}

type Loaded = Extract<KubeconfigState, { kind: 'loaded' }>;

/** Undefined while nothing speaks against the credential. */
function expiryFindings(
  { path, token, certificateExpiry }: Loaded,
  record: BootstrapFacts['record'],
  context: BootstrapContext,
): DoctorFinding[] | undefined {
  const { now, needed } = context;
  const severity: Severity = needed ? 'error' : 'info';
  const why = whyOf(context);
  const remedy = `Put a fresh token into ${path}: ${newToken}`;
  if (record === 'absent') {
    const id = token?.kind === 'bootstrap' ? token.id : '';
    const what = `the cluster has no bootstrap token ${id} (Secret kube-system/bootstrap-token-${id}): it expired or was deleted`;
    return [{ id: 'bootstrap-expired', severity, what, why, remedy }];
  }
  if (typeof record === 'object' && !record.forAuthentication) {
    const what = `the bootstrap token in ${path} is not for authentication (usage-bootstrap-authentication)`;
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
      what: `${what}, ${formatDuration(end - now)} from now`,
      why: 'A request that nobody approves until then is lost with it',
      remedy,
    },
  ];
}

function endOf({
  token,
  certificateExpiry,
  record,
}: {
  readonly token: Loaded['token'];
  readonly certificateExpiry: Instant | undefined;
  readonly record: BootstrapFacts['record'];
}): Instant | undefined {
  const told = typeof record === 'object' ? record.expiration : undefined;
  return told ?? (token?.kind === 'other' ? token.expiry : undefined) ?? certificateExpiry;
}

function refusalFindings(
  path: string,
  identity: BootstrapFacts['identity'],
  context: BootstrapContext,
): DoctorFinding[] {
  if (identity === undefined || !('code' in identity)) return [];
  // A plugin that is needed now is reported where the credential is obtained.
  if (identity.code === 'PLUGIN_FAILED' && !context.needed) {
    const { message, remedy } = identity;
    const shown = remedy === undefined ? {} : { remedy };
    return [
      { id: 'plugin-failed', severity: 'info', what: message, why: whyOf(context), ...shown },
    ];
  }
  // Whether the server can be reached at all is judged where the server is.
  if (identity.code !== 'API_UNAUTHORIZED') return [];
  return [
    {
      id: 'bootstrap-refused',
      severity: context.needed ? 'error' : 'info',
      what: `the API server does not accept the credential in ${path}: a token that expired, was deleted or belongs to another cluster`,
      why: whyOf(context),
      remedy: `Put a fresh token into ${path}: ${newToken}`,
    },
  ];
}

/** k/k #126015: a bootstrap credential that is a node can ask in that node's name only. */
function identityFindings(
  identity: BootstrapFacts['identity'],
  { nodeName, needed }: BootstrapContext,
): DoctorFinding[] {
  if (identity === undefined || 'code' in identity) return [];
  const prefix = 'system:node:';
  if (!identity.username.startsWith(prefix)) return [];
  if (identity.username === prefix + nodeName) return [];
  return [
    {
      id: 'node-name-mismatch',
      severity: needed ? 'error' : 'warning',
      subject: 'bootstrap kubeconfig',
      what: `the bootstrap credential belongs to ${identity.username}, the configuration says ${prefix}${nodeName}`,
      why: 'A node may ask for certificates in its own name only: the API server refuses the request',
      remedy: `set nodeName (--hostname-override) to ${identity.username.slice(prefix.length)}, or bootstrap with a token: ${newToken}`,
    },
  ];
}

function fine(
  { path, token, certificateExpiry }: Loaded,
  record: BootstrapFacts['record'],
  identity: BootstrapFacts['identity'],
): DoctorFinding {
  const accepted = identity !== undefined && 'username' in identity;
  const who = accepted ? `is accepted as ${identity.username}` : 'is there';
  const end = endOf({ token, certificateExpiry, record });
  return {
    id: 'bootstrap-credential',
    severity: accepted ? 'ok' : 'info',
    what: `the credential in ${path} ${who}, ${end === undefined ? untilUnknown(record) : `until ${formatInstant(end)}`}`,
  };
}

function untilUnknown(record: BootstrapFacts['record']): string {
  return typeof record === 'object'
    ? 'without an end'
    : 'until when is not known (only administrators may read its Secret: --admin-kubeconfig)';
}
