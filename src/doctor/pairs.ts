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
import { loadPair } from '../store/pair-file.ts';
import { currentLink } from '../store/pair-names.ts';
import { unlessMissing } from '../sys/file-error.ts';

/** What stands behind one `-current.pem`. */
export interface PairState {
  readonly spec: CertificateSpec;
  readonly link: string;
  readonly kind: 'missing' | 'link' | 'file';
  /** As the link names it. */
  readonly target?: string;
  /** Of the file in the end; absent when the link leads nowhere. */
  readonly mode?: number;
  readonly pair?: PairFacts;
  /** Why there is a file and no pair. */
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

/** The node's own identity, when it can be used now. */
export function usableClientPair(pairs: readonly PairState[], now: Instant): PairFacts | undefined {
  const facts = pairs.find(({ spec }) => spec.profile === 'kubelet-client')?.pair;
  if (facts === undefined || facts.selfSigned) return undefined;
  return facts.notBefore <= now && now < facts.notAfter ? facts : undefined;
}

export interface PairContext {
  readonly nodeName: string;
  /** Those that the kubelet rotates, and the agent only watches. */
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
      what: `${link} holds a matching pair, valid for ${left} more`,
    },
  ];
}

function missing({ spec, link, kind, target }: PairState): DoctorFinding {
  if (kind === 'missing') {
    return {
      id: 'pair-missing',
      severity: 'info',
      subject: spec.name,
      what: `there is no ${link} yet; the agent asks for the certificate`,
    };
  }
  return {
    id: 'pair-dangling',
    severity: 'error',
    subject: spec.name,
    what: `${link} leads to ${target ?? 'a file'}, which does not exist`,
    why: 'Whoever reads the pair finds none: a kubelet that starts now stops at once',
    remedy: 'systemctl start nodecertd: it links the newest valid pair, or asks for a new one',
  };
}

function unusable({ spec, link }: PairState, { code, message }: Failure): DoctorFinding {
  if (code === 'PAIR_MALFORMED' || code === 'CERT_KEY_MISMATCH') {
    return {
      id: 'pair-damaged',
      severity: 'error',
      subject: spec.name,
      what: `${link} holds no pair: ${message}`,
      why: 'Whoever reads it cannot start or authenticate',
      remedy:
        'systemctl start nodecertd: it sets the file aside and links the newest valid pair, or asks for a new one',
    };
  }
  return {
    id: 'pair-unreadable',
    severity: 'warning',
    subject: spec.name,
    what: `${link} cannot be read: ${message}`,
    why: 'Whether the pair is valid is not known',
    remedy: 'Run this as the user of the agent, mostly root',
  };
}

function plainFile({ spec, link }: PairState): DoctorFinding {
  return {
    id: 'pair-plain-file',
    severity: 'warning',
    subject: spec.name,
    what: `${link} is a file, where a link to the pair belongs`,
    why: 'A kubelet refuses to rotate such a pair; something other than the agent put it there',
    remedy: 'systemctl start nodecertd: it moves the pair behind a link',
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
      what: `${path} has mode ${showMode(mode)}: others may read or replace the private key`,
      why: 'Whoever had the key is this node until the certificate expires',
      remedy: `chmod 600 ${path}`,
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
      what: `the certificate is for ${commonName}, the configuration says ${wanted}`,
      why: client
        ? 'A node may ask for certificates in its own name only: the API server refuses the next request'
        : 'The certificate does not fit the node; the agent asks for another one at once',
      remedy: client
        ? `set nodeName (--hostname-override) to ${nodeOf(commonName)}; or, if the node was renamed, remove ${pair.path} and the kubeconfig and bootstrap anew`
        : 'Nothing, unless the node name in the configuration is wrong',
    },
  ];
}

function nodeOf(commonName: string): string {
  return commonName.replace(/^system:node:/, '');
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
            ? 'The node cannot authenticate; only the bootstrap credential can get it a new certificate'
            : 'Clients that verify the certificate refuse the connection',
        remedy:
          spec.profile === 'kubelet-client'
            ? 'kubeadm token create, put it into the bootstrap kubeconfig, and systemctl start nodecertd'
            : 'systemctl start nodecertd && nodecertd status',
      },
    ];
  }
  if (pair.selfSigned) {
    return [
      {
        id: 'pair-self-signed',
        severity: 'info',
        subject,
        what: `${pair.path} is the self-signed stand-in`,
        why: 'Clients cannot verify it until the cluster has issued the real one',
      },
    ];
  }
  if (now < pair.notBefore) {
    return [
      {
        id: 'pair-not-yet-valid',
        severity: 'error',
        subject,
        what: `${pair.path} is valid from ${formatInstant(pair.notBefore)}; it is ${formatInstant(now)} here`,
        why: 'The clock of this node or of the signer is wrong, and the pair is refused meanwhile',
        remedy: 'timedatectl status',
      },
    ];
  }
  const isObserved = observed.has(spec.name);
  const deadline = foundDeadline(pair, { nodeName, name: spec.name, observed, now });
  if (now <= deadline + overdueGrace(pair)) return [];
  return [
    {
      id: 'pair-expiring',
      severity: 'warning',
      subject,
      what: `${pair.path} should have been replaced ${formatDuration(now - deadline)} ago and expires in ${formatDuration(pair.notAfter - now)}`,
      why: isObserved
        ? 'The kubelet rotates it, and has not'
        : 'Rotation does not work, or no agent runs',
      remedy: isObserved
        ? 'systemctl status kubelet; journalctl -u kubelet | grep -i certificate'
        : 'systemctl status nodecertd; journalctl -u nodecertd | grep rotation_failed',
    },
  ];
}
