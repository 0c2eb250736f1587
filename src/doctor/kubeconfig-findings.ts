import { showMode } from '../core/file-mode.ts';
import type { Instant } from '../core/instant.ts';
import { formatDuration, formatInstant } from '../core/instant.ts';
import type { Failure } from '../core/errors.ts';
import type { DoctorFinding } from '../core/findings.ts';
import { failureFinding } from './check.ts';
import { adoptRemedy } from './kubelet-findings.ts';
import type { KubeconfigUser } from '../kube/kubeconfig-user.ts';
import type { KubeconfigState, LoadedKubeconfig } from './kubeconfig-state.ts';

export interface KubeconfigContext {
  readonly now: Instant;
  /** The `-current.pem` link of the client certificate, if the agent manages one. */
  readonly pairLink?: string | undefined;
  /** The agent has a client certificate that is valid now. */
  readonly hasIdentity: boolean;
  readonly hasBootstrap: boolean;
}

/** Problems of the kubeconfig that the kubelet and the agent share. */
export function kubeconfigFindings(
  state: KubeconfigState,
  context: KubeconfigContext,
): DoctorFinding[] {
  if (state.kind === 'missing') return [missing(state.path, context)];
  if (state.kind === 'invalid') {
    const why =
      state.failure.code === 'KUBECONFIG_UNSUPPORTED'
        ? 'nodecertd cannot use this kubeconfig; the kubelet may be able to'
        : 'Neither the kubelet nor the agent can connect to the API server with it';
    return [invalid(state.failure, why)];
  }
  const findings = [
    ...linkFindings(state, context),
    ...expiryFindings(state, context),
    ...secrecyFindings(state),
    ...authorityFindings(state, context.now),
  ];
  if (findings.length > 0) return findings;
  const how = state.followsPair ? ` with ${context.pairLink}` : '';
  return [
    { id: 'kubeconfig', severity: 'ok', what: `${state.path} connects to ${state.server}${how}` },
  ];
}

function invalid(failure: Failure, why: string): DoctorFinding {
  return failureFinding(failure, { id: 'kubeconfig-invalid', severity: 'error', why });
}

function missing(path: string, { hasBootstrap }: KubeconfigContext): DoctorFinding {
  return hasBootstrap
    ? {
        id: 'kubeconfig-missing',
        severity: 'info',
        what: `the kubeconfig ${path} does not exist yet; the agent writes it after the bootstrap`,
      }
    : {
        id: 'kubeconfig-missing',
        severity: 'error',
        what: `the kubeconfig ${path} does not exist, and no bootstrap kubeconfig is configured`,
        why: 'The agent has no API server address and no credential',
        remedy:
          'Set bootstrapKubeconfig (--bootstrap-kubeconfig) to a kubeconfig with a token: kubeadm token create',
      };
}

/** k/k #71825: a kubeconfig that embeds or names an older certificate never uses the rotated one. */
function linkFindings(
  { path, user, followsPair, certificateExpiry }: LoadedKubeconfig,
  { pairLink }: KubeconfigContext,
): DoctorFinding[] {
  if (pairLink === undefined || followsPair) return [];
  const found = credentialText(user);
  const until =
    certificateExpiry === undefined ? '' : ` and expires at ${formatInstant(certificateExpiry)}`;
  return [
    {
      id: 'kubeconfig-stale',
      severity: 'warning',
      what: `${path} ${found} instead of ${pairLink}`,
      why: `The kubelet does not use the rotated certificate; its credential stays the same${until}`,
      remedy: linkRemedy(path, pairLink, user),
    },
  ];
}

function credentialText({ embedsCertificate, certificateFile, plugin }: KubeconfigUser): string {
  if (embedsCertificate) return 'embeds a client certificate';
  if (certificateFile !== undefined) return `names ${certificateFile}`;
  return plugin === undefined ? 'names no client certificate' : `uses the exec plugin ${plugin}`;
}

/** `adopt` replaces a client certificate with the link, but adds no certificate to other users. */
function linkRemedy(path: string, pairLink: string, user: KubeconfigUser): string {
  const { name, embedsCertificate, certificateFile, plugin } = user;
  if (embedsCertificate || certificateFile !== undefined) return adoptRemedy;
  const set = `kubectl config set-credentials ${name} --client-certificate=${pairLink} --client-key=${pairLink} --kubeconfig=${path} && systemctl restart kubelet`;
  if (plugin === undefined) return set;
  return `If the kubelet should keep using the plugin, remove the certificate with the profile kubelet-client from the configuration of nodecertd; otherwise: ${set}`;
}

function expiryFindings(
  { path, certificateExpiry, followsPair, refusal }: LoadedKubeconfig,
  { now, hasIdentity, hasBootstrap }: KubeconfigContext,
): DoctorFinding[] {
  // pairFindings() covers the certificate behind the link.
  if (certificateExpiry === undefined || now < certificateExpiry || followsPair) return [];
  return [
    {
      id: 'kubeconfig-expired',
      severity: 'error',
      what: `the client certificate in ${path} expired at ${formatInstant(certificateExpiry)}`,
      why: hasIdentity
        ? 'The agent uses its own certificate, but the kubelet cannot authenticate'
        : 'Neither the kubelet nor the agent can authenticate with it',
      remedy: hasIdentity
        ? adoptRemedy
        : 'Put a new token into the bootstrap kubeconfig: kubeadm token create',
    },
    ...(hasIdentity || !hasBootstrap || refusal === undefined
      ? []
      : [invalid(refusal, 'The agent does not bootstrap: it would have to overwrite this file')]),
  ];
}

/** Also used for the bootstrap kubeconfig: file permissions and verification of the API server. */
export function secrecyFindings({
  path,
  mode,
  user,
  insecure,
  server,
}: LoadedKubeconfig): DoctorFinding[] {
  const findings: DoctorFinding[] = [];
  if (user.holdsSecret && (mode & 0o077) !== 0) findings.push(permissionFinding(path, mode));
  if (insecure) {
    findings.push({
      id: 'kubeconfig-insecure',
      severity: 'warning',
      subject: path,
      what: `${path} does not verify ${server} (insecure-skip-tls-verify)`,
      why: 'A machine in the middle can steal the credential and return forged certificates',
      remedy: `Set the CA: kubectl config set-cluster NAME --certificate-authority=/etc/kubernetes/pki/ca.crt --insecure-skip-tls-verify=false --kubeconfig=${path}`,
    });
  }
  return findings;
}

export function permissionFinding(path: string, mode: number): DoctorFinding {
  return {
    id: 'kubeconfig-permissions',
    severity: 'warning',
    subject: path,
    what: `other users can access the credential in ${path} (mode ${showMode(mode)})`,
    why: 'Local users can act as the owner of the credential',
    remedy: `Restrict the file to its owner: chmod 600 ${path}`,
  };
}

/**
 * A tenth of a CA's usual ten years is a year, the usual lifetime of a certificate. From
 * then on, the end of the CA shortens new certificates.
 */
const nearEnd = 0.1;

function authorityFindings({ path, authority }: LoadedKubeconfig, now: Instant): DoctorFinding[] {
  if (authority === undefined) return [];
  const { notBefore, notAfter } = authority;
  const left = notAfter - now;
  if (left > nearEnd * (notAfter - notBefore)) return [];
  const expired = left <= 0;
  return [
    {
      id: expired ? 'cluster-ca-expired' : 'cluster-ca-expiring',
      severity: expired ? 'error' : 'warning',
      what: `the CA in ${path} ${expired ? 'expired' : 'expires'} at ${formatInstant(notAfter)} (${formatDuration(Math.abs(left))} ${expired ? 'ago' : 'left'})`,
      why: expired
        ? 'No certificate of this cluster is valid anymore'
        : 'Signers never issue past the end of their CA, so new certificates get shorter and shorter (k/k #73706)',
      remedy: expired
        ? `Renew the CA of the cluster with its key, which keeps all certificates valid, and write the new certificate into the CA file or certificate-authority-data of ${path}; with trust.enabled, write it into trust.file, and run: nodecertd trust sync. If the cluster already has a CA with another key: nodecertd discover`
        : 'Renew the CA of the cluster: https://kubernetes.io/docs/tasks/tls/manual-rotation-of-ca-certificates/',
    },
  ];
}
