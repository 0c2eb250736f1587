import { lstat, readlink, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { PairFacts } from '../core/certificate.ts';
import type { CertificateSpec } from '../core/certificate-spec.ts';
import type { AgentConfig } from '../core/config.ts';
import type { Failure } from '../core/errors.ts';
import { toFailure } from '../core/errors.ts';
import { showMode } from '../core/file-mode.ts';
import type { Instant } from '../core/instant.ts';
import { formatDuration, formatInstant } from '../core/instant.ts';
import type { DoctorFinding } from '../core/findings.ts';
import { foundDeadline, overdueGrace } from '../core/schedule.ts';
import { nodeNameRemedy, nodeOfUser } from '../kube/api-user.ts';
import { loadPair } from '../store/pair-file.ts';
import { currentLink } from '../core/certificate-spec.ts';
import { unlessMissing } from '../sys/file-error.ts';
import { asAgentUser } from './check.ts';

/** The state of one `-current.pem` link and its file. */
export interface PairState {
  readonly spec: CertificateSpec;
  readonly link: string;
  readonly kind: 'missing' | 'link' | 'file';
  /** The target of the link, as written. */
  readonly target?: string;
  /** Of the final file; absent for a dangling link. */
  readonly mode?: number;
  readonly pair?: PairFacts;
  /** Why the file could not be loaded. */
  readonly failure?: Failure;
}

export async function inspectPairs(config: AgentConfig): Promise<PairState[]> {
  return Promise.all(
    config.certificates.map((spec) => inspectPair(spec, config.certificateDirectory)),
  );
}

async function inspectPair(spec: CertificateSpec, directory: string): Promise<PairState> {
  const link = join(directory, currentLink(spec.name));
  const entry = await unlessMissing(() => lstat(link));
  if (entry === undefined) return { spec, link, kind: 'missing' };
  const isLink = entry.isSymbolicLink();
  const found: PairState = {
    spec,
    link,
    kind: isLink ? 'link' : 'file',
    ...(isLink && { target: await readlink(link) }),
  };
  const file = await unlessMissing(() => stat(link));
  if (file === undefined) return found;
  const mode = file.mode & 0o7777;
  try {
    const { facts } = await loadPair(link);
    return { ...found, mode, pair: facts };
  } catch (error) {
    return { ...found, mode, failure: toFailure(error) };
  }
}

/** The client certificate of the node, if it is valid now. */
export function usableClientPair(pairs: readonly PairState[], now: Instant): PairFacts | undefined {
  const facts = pairs.find(({ spec }) => spec.profile === 'kubelet-client')?.pair;
  if (facts === undefined || facts.selfSigned) return undefined;
  return facts.notBefore <= now && now < facts.notAfter ? facts : undefined;
}

export interface PairContext {
  readonly nodeName: string;
  /** Certificates that the kubelet rotates and the agent only observes. */
  readonly observed: ReadonlySet<string>;
  readonly now: Instant;
}

export function pairFindings(states: readonly PairState[], context: PairContext): DoctorFinding[] {
  return states.flatMap((state) => linkFindings(state, context));
}

function linkFindings(state: PairState, context: PairContext): DoctorFinding[] {
  const { spec, link, kind, pair, failure } = state;
  if (failure !== undefined) return [unusable(state, failure)];
  if (pair === undefined) return [missing(state)];
  const findings = [
    ...(kind === 'file' ? [plainFile(state)] : []),
    ...modeFindings(state),
    ...nameFindings(spec, pair),
    ...validityFindings(spec, pair, context),
  ];
  if (findings.length > 0) return findings;
  const left = formatDuration(pair.notAfter - context.now);
  return [
    {
      id: 'pair',
      severity: 'ok',
      subject: spec.name,
      what: `${link} has a certificate with its key, valid for ${left}`,
    },
  ];
}

function missing({ spec, link, kind, target }: PairState): DoctorFinding {
  if (kind === 'missing') {
    return {
      id: 'pair-missing',
      severity: 'info',
      subject: spec.name,
      what: `${link} does not exist yet; the agent requests the certificate`,
    };
  }
  return {
    id: 'pair-dangling',
    severity: 'error',
    subject: spec.name,
    what: `${link} points to ${target ?? 'a file'}, which does not exist`,
    why: 'Programs find no certificate: a kubelet that starts now exits at once',
    remedy:
      'Start the agent, which links the newest valid certificate or requests a new one: systemctl start nodecertd',
  };
}

function unusable({ spec, link }: PairState, { code, message }: Failure): DoctorFinding {
  if (code === 'PAIR_MALFORMED' || code === 'CERT_KEY_MISMATCH') {
    return {
      id: 'pair-damaged',
      severity: 'error',
      subject: spec.name,
      what: `${link} has no valid certificate with its key: ${message}`,
      why: 'Programs that read the file cannot start or authenticate',
      remedy:
        'Start the agent, which sets the file aside and links the newest valid certificate or requests a new one: systemctl start nodecertd',
    };
  }
  return {
    id: 'pair-unreadable',
    severity: 'warning',
    subject: spec.name,
    what: `cannot read ${link}: ${message}`,
    why: 'The doctor cannot check the certificate',
    remedy: asAgentUser,
  };
}

function plainFile({ spec, link }: PairState): DoctorFinding {
  return {
    id: 'pair-plain-file',
    severity: 'warning',
    subject: spec.name,
    what: `${link} is a file instead of a symbolic link`,
    why: 'A kubelet refuses to rotate such a certificate; a program other than the agent wrote the file',
    remedy: 'Start the agent, which moves the certificate behind a link: systemctl start nodecertd',
  };
}

function modeFindings({ spec, pair, mode = 0 }: PairState): DoctorFinding[] {
  if ((mode & 0o077) === 0) return [];
  const path = pair?.path ?? '';
  return [
    {
      id: 'pair-permissions',
      severity: 'warning',
      subject: spec.name,
      what: `other users can read or replace the private key in ${path} (mode ${showMode(mode)})`,
      why: 'Anyone with the key can act as this node until the certificate expires',
      remedy: `Restrict the file to its owner: chmod 600 ${path}`,
    },
  ];
}

function nameFindings(spec: CertificateSpec, pair: PairFacts): DoctorFinding[] {
  const { commonName } = pair.subject;
  const wanted = spec.subject.commonName;
  if (spec.profile === 'custom' || pair.selfSigned || commonName === wanted) return [];
  const client = spec.profile === 'kubelet-client';
  return [
    {
      id: 'node-name-mismatch',
      severity: client ? 'error' : 'warning',
      subject: spec.name,
      what: `the certificate is for ${commonName}, but the configuration says ${wanted}`,
      why: client
        ? 'The API server refuses the next CSR: a node may request certificates in its own name only'
        : 'The certificate does not match the node, so the agent requests another one at once',
      remedy: client
        ? nodeNameRemedy(
            nodeOfUser(commonName) ?? commonName,
            `remove ${pair.path} and the kubeconfig and bootstrap again`,
          )
        : 'Correct nodeName in the configuration if it is wrong; otherwise do nothing',
    },
  ];
}

function validityFindings(
  spec: CertificateSpec,
  pair: PairFacts,
  { nodeName, observed, now }: PairContext,
): DoctorFinding[] {
  const subject = spec.name;
  if (now >= pair.notAfter) {
    return [
      {
        id: 'pair-expired',
        severity: 'error',
        subject,
        what: `${pair.path} expired at ${formatInstant(pair.notAfter)}, ${formatDuration(now - pair.notAfter)} ago`,
        why:
          spec.profile === 'kubelet-client'
            ? 'The node cannot authenticate; it needs its bootstrap credential to get a new certificate'
            : 'Clients that verify the certificate refuse the connection',
        remedy:
          spec.profile === 'kubelet-client'
            ? 'Put a new token (kubeadm token create) into the bootstrap kubeconfig, then: systemctl start nodecertd'
            : 'Start the agent and check its status: systemctl start nodecertd && nodecertd status',
      },
    ];
  }
  if (pair.selfSigned) {
    return [
      {
        id: 'pair-self-signed',
        severity: 'info',
        subject,
        what: `${pair.path} is the temporary self-signed certificate`,
        why: 'Clients cannot verify it; the agent replaces it once the cluster issues a certificate',
      },
    ];
  }
  if (now < pair.notBefore) {
    return [
      {
        id: 'pair-not-yet-valid',
        severity: 'error',
        subject,
        what: `${pair.path} is not valid before ${formatInstant(pair.notBefore)}, and the clock of this node says ${formatInstant(now)}`,
        why: 'Peers reject the certificate: the clock of this node or of the signer is wrong',
        remedy: 'Check the clock: timedatectl status',
      },
    ];
  }
  const isObserved = observed.has(spec.name);
  const deadline = foundDeadline(pair, {
    nodeName,
    name: spec.name,
    window: spec.rotationWindow,
    observed,
    now,
  });
  if (now <= deadline + overdueGrace(pair)) return [];
  return [
    {
      id: 'pair-expiring',
      severity: 'warning',
      subject,
      what: `the rotation of ${pair.path} is overdue by ${formatDuration(now - deadline)}; it expires in ${formatDuration(pair.notAfter - now)}`,
      why: isObserved
        ? 'The rotation by the kubelet fails, or the kubelet is not running'
        : 'The rotation fails, or the agent is not running',
      remedy: isObserved
        ? 'Check the kubelet: systemctl status kubelet; journalctl -u kubelet | grep -i certificate'
        : 'Check the agent: systemctl status nodecertd; journalctl -u nodecertd | grep rotation_failed',
    },
  ];
}
