import { join } from 'node:path';
import type { AdoptionFacts } from './facts.ts';
import type { Note, Obstacle, PlanPart } from './plan.ts';
import { found } from './plan.ts';

/** Refuses when the agent's configuration is not about the certificates of this kubelet. */
export function checkAgent(facts: AdoptionFacts): PlanPart {
  return {
    obstacles: found(
      nothingKept(facts),
      otherName(facts),
      otherDirectory(facts),
      otherKubeconfig(facts),
    ),
    notes: found(otherBootstrap(facts), otherConfigPaths(facts), agentNotRunning(facts)),
  };
}

function nothingKept({ targets }: AdoptionFacts): Obstacle | undefined {
  if (targets.client !== undefined || targets.serving !== undefined) return undefined;
  return {
    id: 'nothing-kept',
    what: 'the configuration of nodecertd has no certificate of the kubelet',
    remedy: 'Add certificates with the profiles kubelet-client and kubelet-serving',
  };
}

function otherName({ config, paths }: AdoptionFacts): Obstacle | undefined {
  const { nodeName } = paths;
  if (nodeName === undefined || nodeName === config.nodeName) return undefined;
  return {
    id: 'node-name',
    what: `the node name of the kubelet is ${nodeName}, that of nodecertd is ${config.nodeName}`,
    why: 'A certificate is issued for one name, and a node may request its own name only',
    remedy: `Set nodeName: ${nodeName} in the configuration of nodecertd (--hostname-override)`,
  };
}

function otherDirectory({ config, paths }: AdoptionFacts): Obstacle | undefined {
  const { certificateDirectory } = paths;
  if (!differ(certificateDirectory, config.certificateDirectory)) return undefined;
  return {
    id: 'certificate-directory',
    what: `the kubelet stores its certificates in ${certificateDirectory}, nodecertd in ${config.certificateDirectory}`,
    why: 'nodecertd would request new certificates instead of using the existing ones',
    remedy: `Set certificateDirectory: ${certificateDirectory} in the configuration of nodecertd (--cert-dir)`,
  };
}

function otherKubeconfig({ config, paths, targets }: AdoptionFacts): Obstacle | undefined {
  const { kubeconfig = config.kubeconfig } = paths;
  if (targets.client === undefined || !differ(kubeconfig, config.kubeconfig)) return undefined;
  return {
    id: 'kubeconfig-path',
    what: `the kubelet uses the kubeconfig ${kubeconfig}, nodecertd uses ${config.kubeconfig}`,
    why: 'After a bootstrap nodecertd writes a kubeconfig that the kubelet would not read',
    remedy: `Set kubeconfig: ${kubeconfig} in the configuration of nodecertd (--kubeconfig)`,
  };
}

function differ(left: string, right: string): boolean {
  return join(left, '.') !== join(right, '.');
}

function otherBootstrap({ config, paths, targets }: AdoptionFacts): Note | undefined {
  const { bootstrapKubeconfig } = paths;
  if (targets.client === undefined || bootstrapKubeconfig === undefined) return undefined;
  if (config.bootstrapKubeconfig === bootstrapKubeconfig) return undefined;
  return {
    id: 'bootstrap-kubeconfig',
    what: `the kubelet bootstraps with ${bootstrapKubeconfig}, nodecertd with ${config.bootstrapKubeconfig ?? 'no bootstrap kubeconfig'}`,
    why: 'Without it a node whose certificate has expired cannot get a new one',
    remedy: `Set bootstrapKubeconfig: ${bootstrapKubeconfig} in the configuration of nodecertd`,
  };
}

function otherConfigPaths({ config, paths, kubelet }: AdoptionFacts): Note | undefined {
  if (kubelet.source === 'unknown') return undefined;
  const { configFile, configDirectory, certificateDirectory } = config.kubelet;
  const sameFile = paths.configFile === undefined || !differ(paths.configFile, configFile);
  const sameFolder = !differ(paths.configDirectory ?? '.', configDirectory ?? '.');
  const sameDirectory = !differ(paths.certificateDirectory, certificateDirectory);
  if (sameFile && sameFolder && sameDirectory) return undefined;
  const keys = [
    ...(paths.configFile === undefined ? [] : [`configFile: ${paths.configFile}`]),
    ...(paths.configDirectory === undefined ? [] : [`configDirectory: ${paths.configDirectory}`]),
    ...(sameDirectory ? [] : [`certificateDirectory: ${paths.certificateDirectory}`]),
  ];
  return {
    id: 'kubelet-config-path',
    what: 'nodecertd reads other configuration files than the kubelet, so it would not notice when the kubelet rotates its certificates again',
    remedy: `Set in the configuration of nodecertd: kubelet: { ${keys.join(', ')} }`,
  };
}

function agentNotRunning({ live, agentPid, config }: AdoptionFacts): Note | undefined {
  if (!live || agentPid !== undefined) return undefined;
  return {
    id: 'agent-not-running',
    what: `nodecertd does not run on ${config.certificateDirectory}, so no certificate is renewed after the adoption`,
    remedy: 'systemctl enable --now nodecertd',
  };
}
