import { join } from 'node:path';
import type { AdoptionFacts } from './facts.ts';
import type { Note, Obstacle, PlanPart } from './plan.ts';
import { found } from './plan.ts';

/** Refuses an agent's configuration that does not match this kubelet. */
export function checkAgent(facts: AdoptionFacts): PlanPart {
  return {
    obstacles: found(
      noKubeletCertificate(facts),
      otherName(facts),
      otherDirectory(facts),
      otherKubeconfig(facts),
    ),
    notes: found(otherBootstrap(facts), otherConfigPaths(facts), agentNotRunning(facts)),
  };
}

function noKubeletCertificate({ targets }: AdoptionFacts): Obstacle | undefined {
  if (targets.client !== undefined || targets.serving !== undefined) return undefined;
  return {
    id: 'nothing-kept',
    what: 'the configuration of nodecertd has no certificate for the kubelet',
    remedy:
      'Add certificates with the profiles kubelet-client and kubelet-serving to the configuration of nodecertd',
  };
}

function otherName({ config, paths }: AdoptionFacts): Obstacle | undefined {
  const { nodeName } = paths;
  if (nodeName === undefined || nodeName === config.nodeName) return undefined;
  return {
    id: 'node-name',
    what: `the kubelet uses the node name ${nodeName}, but nodecertd uses ${config.nodeName}`,
    why: 'A certificate is valid for one node name, and a node may request only a certificate for its own name',
    remedy: `Set nodeName: ${nodeName} in the configuration of nodecertd (--hostname-override)`,
  };
}

function otherDirectory({ config, paths }: AdoptionFacts): Obstacle | undefined {
  const { certificateDirectory } = paths;
  if (!differ(certificateDirectory, config.certificateDirectory)) return undefined;
  return {
    id: 'certificate-directory',
    what: `the kubelet stores its certificates in ${certificateDirectory}, but nodecertd uses ${config.certificateDirectory}`,
    why: 'nodecertd would request new certificates instead of using the existing ones',
    remedy: `Set certificateDirectory: ${certificateDirectory} in the configuration of nodecertd (--cert-dir)`,
  };
}

function otherKubeconfig({ config, paths, targets }: AdoptionFacts): Obstacle | undefined {
  const { kubeconfig = config.kubeconfig } = paths;
  if (targets.client === undefined || !differ(kubeconfig, config.kubeconfig)) return undefined;
  return {
    id: 'kubeconfig-path',
    what: `the kubelet uses the kubeconfig ${kubeconfig}, but nodecertd uses ${config.kubeconfig}`,
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
  if (config.bootstrap.discovery !== undefined) return undefined;
  return {
    id: 'bootstrap-kubeconfig',
    what: `the kubelet bootstraps with ${bootstrapKubeconfig}, but nodecertd uses ${config.bootstrapKubeconfig ?? 'no bootstrap kubeconfig'}`,
    why: 'Without this kubeconfig, a node with an expired certificate cannot get a new certificate',
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
    what: 'nodecertd and the kubelet read different configuration files, so nodecertd would not notice when the kubelet rotates its certificates again',
    remedy: `Set in the configuration of nodecertd: kubelet: { ${keys.join(', ')} }`,
  };
}

function agentNotRunning({ live, agentPid, config }: AdoptionFacts): Note | undefined {
  if (!live || agentPid !== undefined) return undefined;
  return {
    id: 'agent-not-running',
    what: `no nodecertd agent uses ${config.certificateDirectory}, so no program renews the certificates after the adoption`,
    remedy: 'Start the agent: systemctl enable --now nodecertd',
  };
}
