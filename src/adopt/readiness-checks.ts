import { formatInstant } from '../core/instant.ts';
import type { Instant } from '../core/instant.ts';
import { systemctlCommand } from '../kubelet/restart.ts';
import type { AdoptionFacts, PairState } from './facts.ts';
import { isUsable } from './facts.ts';
import type { Note, Obstacle, PlanPart } from './plan.ts';
import { found } from './plan.ts';
import { fileValue } from './settings-plan.ts';

/**
 * Refuses a node whose agent or key pairs are not ready: a kubelet with `tlsCertFile` needs the
 * key pair when it starts, and only the agent renews certificates after the adoption.
 */
export function checkReadiness(facts: AdoptionFacts): PlanPart {
  const { client, serving } = facts;
  const halfDone = [client, serving].flatMap((pair) => (pair?.halfDone === true ? [pair] : []));
  if (halfDone.length > 0) return { obstacles: halfDone.map(rotationHalfDone) };
  return {
    obstacles: found(
      client && unusableClient(facts, client),
      missingKubeconfig(facts),
      serving && unusableServing(facts, serving),
    ),
    notes: found(
      client && agentBootstraps(facts, client),
      selfSigned(serving),
      kubeletNotRunning(facts),
      firstStart(facts),
    ),
  };
}

function rotationHalfDone({ link, spec }: PairState): Obstacle {
  return {
    id: 'rotation-half-done',
    what: `the kubelet is in the middle of a rotation: ${spec.name}-updated.pem exists, ${link} does not`,
    why: 'The kubelet renames the new link within a moment, unless the kubelet was killed',
    remedy:
      'Run this command again; if the message remains, complete the rotation: systemctl restart kubelet',
  };
}

function unusableClient(facts: AdoptionFacts, client: PairState): Obstacle | undefined {
  const { now, live, canBootstrap, kubeconfig } = facts;
  const { link, pair, spec, failure } = client;
  if (isUsable(client, now)) return undefined;
  if (pair !== undefined && pair.subject.commonName !== spec.subject.commonName) {
    const { commonName } = pair.subject;
    return {
      id: 'node-name',
      what: `${link} is a certificate of ${commonName}, but nodecertd is configured for ${spec.subject.commonName}`,
      remedy: `Set nodeName: ${commonName.replace(/^system:node:/, '')} in the configuration of nodecertd (--hostname-override)`,
    };
  }
  // An image without a kubeconfig bootstraps at its first start.
  const bootstrapsLater =
    !live && pair === undefined && failure === undefined && kubeconfig.kind === 'missing';
  if (canBootstrap || bootstrapsLater) return undefined;
  return {
    id: 'client-pair',
    what: `${link} ${problemOf(client, now)}`,
    why: 'The kubelet cannot authenticate with this certificate, and nodecertd has no other credential to request a new certificate',
    remedy: live
      ? 'Start nodecertd, which requests a certificate with the kubeconfig or the bootstrap kubeconfig: systemctl start nodecertd; if the request fails, run nodecertd doctor'
      : `Remove ${kubeconfig.file} from the image: nodecertd writes the file after its bootstrap`,
  };
}

function missingKubeconfig({
  kubeconfig,
  live,
  canBootstrap,
}: AdoptionFacts): Obstacle | undefined {
  if (kubeconfig.kind !== 'missing' || canBootstrap || !live) return undefined;
  return {
    id: 'kubeconfig-missing',
    what: `the kubeconfig ${kubeconfig.file} does not exist, and nodecertd has no usable bootstrap kubeconfig`,
    remedy:
      'Write a bootstrap kubeconfig for nodecertd, with a token from: kubeadm token create; then run nodecertd doctor',
  };
}

function problemOf({ pair, failure }: PairState, now: Instant): string {
  if (failure !== undefined) return `cannot be used: ${failure.message}`;
  if (pair === undefined) return 'does not exist';
  if (pair.selfSigned) return 'is self-signed';
  if (now >= pair.notAfter) return `expired at ${formatInstant(pair.notAfter)}`;
  return `is not valid before ${formatInstant(pair.notBefore)}`;
}

function agentBootstraps(
  { now, canBootstrap, live }: AdoptionFacts,
  client: PairState,
): Note | undefined {
  if (!live || isUsable(client, now) || !canBootstrap) return undefined;
  return {
    id: 'agent-bootstraps',
    what: `${client.link} ${problemOf(client, now)}, so nodecertd bootstraps and rewrites the kubeconfig`,
    remedy: 'Start nodecertd, and check its status: systemctl start nodecertd && nodecertd status',
  };
}

/** A kubelet starts with an expired certificate, but not with a missing or corrupt file. */
function unusableServing(facts: AdoptionFacts, serving: PairState): Obstacle | undefined {
  const { live, now } = facts;
  const { link, pair, failure } = serving;
  if (pair !== undefined || (!live && failure === undefined)) return undefined;
  return {
    id: 'serving-pair',
    what: `${link} ${problemOf(serving, now)}`,
    why: 'A kubelet whose tlsCertFile names this file cannot start',
    remedy: servingRemedy(facts),
  };
}

function servingRemedy(facts: AdoptionFacts): string {
  const { agentPid, config, paths } = facts;
  if (config.kubelet.deferToKubelet && fileValue(facts, 'serverTLSBootstrap') === true) {
    const file = paths.configFile ?? config.kubelet.configFile;
    return `Approve the CSR of the kubelet: kubectl get csr; or set serverTLSBootstrap: false in ${file}, so that a running nodecertd creates a temporary self-signed certificate; then run this command again`;
  }
  return agentPid === undefined
    ? 'Start nodecertd, which uses kubelet.crt and kubelet.key or creates a temporary self-signed certificate within seconds: systemctl start nodecertd; then run this command again'
    : 'Check the reason: nodecertd status; run this command again when the certificate exists';
}

function selfSigned(serving: PairState | undefined): Note | undefined {
  if (serving?.pair?.selfSigned !== true) return undefined;
  return {
    id: 'self-signed',
    what: `${serving.link} is a temporary self-signed certificate until the cluster issues one`,
    remedy: 'Approve its CSR, which nodecertd status names: kubectl certificate approve NAME',
  };
}

function kubeletNotRunning({ live, kubelet }: AdoptionFacts): Note | undefined {
  if (!live || kubelet.running !== undefined || kubelet.unit === undefined) return undefined;
  return {
    id: 'kubelet-not-running',
    what: `the kubelet is not running; it reads these files when ${kubelet.unit} starts it`,
    remedy: `Start the kubelet: ${systemctlCommand('start', kubelet.unit)}`,
  };
}

function firstStart({ live, client, serving }: AdoptionFacts): Note | undefined {
  const missing = [client, serving].filter((pair) => pair !== undefined && pair.pair === undefined);
  if (live || missing.length === 0) return undefined;
  return {
    id: 'first-start',
    what: `the image has no ${missing.map((pair) => pair?.spec.name).join(' and no ')} certificate yet, so the kubelet cannot start until nodecertd has created ${missing.length === 1 ? 'it' : 'them'}`,
    remedy:
      'Start nodecertd first: Before=kubelet.service in nodecertd.service, and Restart=always in kubelet.service',
  };
}
