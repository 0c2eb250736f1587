import { formatInstant } from '../core/instant.ts';
import type { Instant } from '../core/instant.ts';
import type { AdoptionFacts, PairLook } from './facts.ts';
import type { Note, Obstacle, PlanPart } from './plan.ts';
import { fileValue } from './settings-plan.ts';

/**
 * Whether the agent can take over: a kubelet that is started with `tlsCertFile` needs the
 * pair there and then, and nobody but the agent renews from now on.
 */
export function checkReadiness(facts: AdoptionFacts): PlanPart {
  const halfDone = [facts.client, facts.serving].flatMap((pair) =>
    pair?.halfDone === true ? [rotationHalfDone(pair)] : [],
  );
  if (halfDone.length > 0) return { obstacles: halfDone };
  const { client, serving } = facts;
  const notes = [...(client ? clientNotes(facts, client) : []), ...selfSigned(serving)];
  const obstacles = [
    ...(client ? [...checkClient(facts, client), ...checkKubeconfig(facts)] : []),
    ...(serving ? checkServing(facts, serving) : []),
  ];
  return { obstacles, notes: [...notes, ...notRunning(facts), ...firstStart(facts)] };
}

/** A pair that authenticates the node now. */
export function isUsable({ pair, spec }: PairLook, now: Instant): boolean {
  if (pair === undefined || pair.selfSigned) return false;
  const { commonName } = pair.subject;
  return commonName === spec.subject.commonName && pair.notBefore <= now && now < pair.notAfter;
}

function rotationHalfDone({ link, spec }: PairLook): Obstacle {
  return {
    id: 'rotation-half-done',
    what: `the kubelet is in the middle of a rotation: ${spec.name}-updated.pem is there, and ${link} is not`,
    why: 'It moves the one into the place of the other within a moment, or was ended in between',
    remedy: 'Run this again; if it stays so: systemctl restart kubelet, which completes it',
  };
}

function checkClient(
  { now, live, canBootstrap, kubeconfig }: AdoptionFacts,
  client: PairLook,
): Obstacle[] {
  const { link, pair, spec, failure } = client;
  if (isUsable(client, now)) return [];
  if (pair !== undefined && pair.subject.commonName !== spec.subject.commonName) {
    return [
      {
        id: 'node-name',
        what: `${link} is a certificate of ${pair.subject.commonName}, and nodecertd is configured for ${spec.subject.commonName}`,
        remedy: `Set nodeName (--hostname-override) to ${pair.subject.commonName.replace(/^system:node:/, '')} in the configuration of nodecertd`,
      },
    ];
  }
  // What an image lacks is made at its first start.
  const toBootstrap = pair === undefined && failure === undefined && kubeconfig.kind === 'missing';
  if (canBootstrap || (!live && toBootstrap)) return [];
  return [
    {
      id: 'client-pair',
      what: `${link} ${troubleOf(client, now)}`,
      why: 'The kubelet could not authenticate with it, and nodecertd has no credential to get another one',
      remedy: live
        ? 'systemctl start nodecertd, which asks for one with what the kubeconfig or the bootstrap kubeconfig holds; see nodecertd doctor'
        : `Leave ${kubeconfig.file} out of the image: nodecertd writes it after its bootstrap`,
    },
  ];
}

/** Without it nobody knows the cluster; the agent writes it after a bootstrap only. */
function checkKubeconfig({ kubeconfig, live, canBootstrap }: AdoptionFacts): Obstacle[] {
  if (kubeconfig.kind !== 'missing' || canBootstrap || !live) return [];
  return [
    {
      id: 'kubeconfig-missing',
      what: `there is no kubeconfig ${kubeconfig.file}, and nothing to bootstrap with`,
      remedy:
        'Give nodecertd a bootstrap kubeconfig with a token of: kubeadm token create; see nodecertd doctor',
    },
  ];
}

function troubleOf({ pair, failure }: PairLook, now: Instant): string {
  if (failure !== undefined) return `cannot be used: ${failure.message}`;
  if (pair === undefined) return 'does not exist';
  if (pair.selfSigned) return 'is signed by itself';
  if (now >= pair.notAfter) return `expired at ${formatInstant(pair.notAfter)}`;
  return `is not valid before ${formatInstant(pair.notBefore)}`;
}

function clientNotes({ now, canBootstrap, live }: AdoptionFacts, client: PairLook): Note[] {
  if (!live || isUsable(client, now) || !canBootstrap) return [];
  return [
    {
      id: 'agent-bootstraps',
      what: `${client.link} ${troubleOf(client, now)}: nodecertd bootstraps, and writes the kubeconfig anew`,
      remedy: 'systemctl start nodecertd && nodecertd status',
    },
  ];
}

/** Whether it is valid is of no concern to a kubelet that starts; that it is there and whole is. */
function checkServing(facts: AdoptionFacts, serving: PairLook): Obstacle[] {
  const { live, now } = facts;
  const { link, pair, failure } = serving;
  if (pair !== undefined || (!live && failure === undefined)) return [];
  return [
    {
      id: 'serving-pair',
      what: `${link} ${troubleOf(serving, now)}`,
      why: 'A kubelet whose tlsCertFile names it does not start without',
      remedy: waysToServing(facts),
    },
  ];
}

function waysToServing(facts: AdoptionFacts): string {
  const { agentPid, config, paths } = facts;
  if (config.kubelet.deferToKubelet && fileValue(facts, 'serverTLSBootstrap') === true) {
    const file = paths.configFile ?? config.kubelet.configFile;
    return `kubectl get csr: the kubelet asks for it itself, and somebody has to approve; or set serverTLSBootstrap: false in ${file}, upon which a running nodecertd signs a stand-in, and run this again`;
  }
  return agentPid === undefined
    ? 'systemctl start nodecertd, which takes over kubelet.crt and kubelet.key or signs a stand-in within seconds, and run this again'
    : 'nodecertd status says what it waits for; run this again when the pair is there';
}

function selfSigned(serving: PairLook | undefined): Note[] {
  if (serving?.pair?.selfSigned !== true) return [];
  return [
    {
      id: 'self-signed',
      what: `${serving.link} is signed by itself until the cluster has issued the real one`,
      remedy: 'nodecertd status names the request; kubectl certificate approve NAME',
    },
  ];
}

function notRunning({ live, kubelet }: AdoptionFacts): Note[] {
  if (!live || kubelet.running !== undefined || kubelet.unit === undefined) return [];
  return [
    {
      id: 'kubelet-not-running',
      what: `no kubelet runs at the moment: it reads these files when ${kubelet.unit} starts it`,
      remedy: `systemctl start ${kubelet.unit.replace(/\.service$/, '')}`,
    },
  ];
}

function firstStart({ live, client, serving }: AdoptionFacts): Note[] {
  const missing = [client, serving].filter((pair) => pair !== undefined && pair.pair === undefined);
  if (live || missing.length === 0) return [];
  return [
    {
      id: 'first-start',
      what: `the image holds no ${missing.map((pair) => pair?.spec.name).join(' and no ')} yet: a kubelet that starts before nodecertd has made it ends, and is started anew`,
      remedy:
        'Order the services: Before=kubelet.service in nodecertd.service, with Restart=always in that of the kubelet',
    },
  ];
}
