import { join } from 'node:path';
import type { AdoptionFacts } from './facts.ts';
import type { Note, Obstacle } from './plan.ts';

/** Refuses when the agent's configuration is not about the certificates of this kubelet. */
export function agentObstacles(facts: AdoptionFacts): Obstacle[] {
  return [...checkKept(facts), ...checkName(facts), ...checkPaths(facts)];
}

export function agentNotes(facts: AdoptionFacts): Note[] {
  return [...checkBootstrap(facts), ...checkObservedPaths(facts), ...checkAgentRuns(facts)];
}

function checkKept({ targets }: AdoptionFacts): Obstacle[] {
  if (targets.client !== undefined || targets.serving !== undefined) return [];
  return [
    {
      id: 'nothing-kept',
      what: 'the configuration of nodecertd has no certificate of the kubelet',
      remedy: 'Add certificates with the profiles kubelet-client and kubelet-serving',
    },
  ];
}

function checkName({ config, paths }: AdoptionFacts): Obstacle[] {
  const { nodeName } = paths;
  if (nodeName === undefined || nodeName === config.nodeName) return [];
  return [
    {
      id: 'node-name',
      what: `the node name of the kubelet is ${nodeName}, that of nodecertd is ${config.nodeName}`,
      why: 'A certificate is issued for one name, and a node may request its own name only',
      remedy: `Set nodeName: ${nodeName} in the configuration of nodecertd (--hostname-override)`,
    },
  ];
}

function checkPaths({ config, paths, targets }: AdoptionFacts): Obstacle[] {
  const obstacles: Obstacle[] = [];
  const { certificateDirectory, kubeconfig } = paths;
  if (differ(certificateDirectory, config.certificateDirectory)) {
    obstacles.push({
      id: 'certificate-directory',
      what: `the kubelet stores its certificates in ${certificateDirectory}, nodecertd in ${config.certificateDirectory}`,
      why: 'nodecertd would request new certificates instead of using the existing ones',
      remedy: `Set certificateDirectory: ${certificateDirectory} in the configuration of nodecertd (--cert-dir)`,
    });
  }
  if (
    targets.client !== undefined &&
    kubeconfig !== undefined &&
    differ(kubeconfig, config.kubeconfig)
  ) {
    obstacles.push({
      id: 'kubeconfig-path',
      what: `the kubelet uses the kubeconfig ${kubeconfig}, nodecertd uses ${config.kubeconfig}`,
      why: 'After a bootstrap nodecertd writes a kubeconfig that the kubelet would not read',
      remedy: `Set kubeconfig: ${kubeconfig} in the configuration of nodecertd (--kubeconfig)`,
    });
  }
  return obstacles;
}

function differ(left: string, right: string): boolean {
  return join(left, '.') !== join(right, '.');
}

function checkBootstrap({ config, paths, targets }: AdoptionFacts): Note[] {
  const { bootstrapKubeconfig } = paths;
  if (targets.client === undefined || bootstrapKubeconfig === undefined) return [];
  if (config.bootstrapKubeconfig === bootstrapKubeconfig) return [];
  return [
    {
      id: 'bootstrap-kubeconfig',
      what: `the kubelet bootstraps with ${bootstrapKubeconfig}, nodecertd with ${config.bootstrapKubeconfig ?? 'no bootstrap kubeconfig'}`,
      why: 'Without it a node whose certificate has expired cannot get a new one',
      remedy: `Set bootstrapKubeconfig: ${bootstrapKubeconfig} in the configuration of nodecertd`,
    },
  ];
}

function checkObservedPaths({ config, paths, kubelet }: AdoptionFacts): Note[] {
  if (kubelet.source === 'unknown') return [];
  const { configFile, configDirectory, certificateDirectory } = config.kubelet;
  const sameFile = paths.configFile === undefined || !differ(paths.configFile, configFile);
  const sameFolder = !differ(paths.configDirectory ?? '.', configDirectory ?? '.');
  const sameDirectory = !differ(paths.certificateDirectory, certificateDirectory);
  if (sameFile && sameFolder && sameDirectory) return [];
  const keys = [
    ...(paths.configFile === undefined ? [] : [`configFile: ${paths.configFile}`]),
    ...(paths.configDirectory === undefined ? [] : [`configDirectory: ${paths.configDirectory}`]),
    ...(sameDirectory ? [] : [`certificateDirectory: ${paths.certificateDirectory}`]),
  ];
  return [
    {
      id: 'kubelet-config-path',
      what: 'nodecertd reads other configuration files than the kubelet, so it would not notice when the kubelet rotates its certificates again',
      remedy: `Set in the configuration of nodecertd: kubelet: { ${keys.join(', ')} }`,
    },
  ];
}

function checkAgentRuns({ live, agentPid, config }: AdoptionFacts): Note[] {
  if (!live || agentPid !== undefined) return [];
  return [
    {
      id: 'agent-not-running',
      what: `nodecertd does not run on ${config.certificateDirectory}, so no certificate is renewed after the adoption`,
      remedy: 'systemctl enable --now nodecertd',
    },
  ];
}
