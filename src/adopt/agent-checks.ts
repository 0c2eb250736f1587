import { join } from 'node:path';
import type { AdoptionFacts } from './facts.ts';
import type { Note, Obstacle, PlanPart } from './plan.ts';

/** Whether the agent's configuration is about the certificates of this very kubelet. */
export function checkAgent(facts: AdoptionFacts): PlanPart {
  return {
    obstacles: [...checkKept(facts), ...checkName(facts), ...checkPlaces(facts)],
    notes: [...checkBootstrap(facts), ...checkWatched(facts), ...checkAgentRuns(facts)],
  };
}

function checkKept({ wanted }: AdoptionFacts): Obstacle[] {
  if (wanted.client !== undefined || wanted.serving !== undefined) return [];
  return [
    {
      id: 'nothing-kept',
      what: 'the configuration of nodecertd names no certificate of the kubelet',
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
      what: `the kubelet calls its node ${nodeName}, nodecertd calls it ${config.nodeName}`,
      why: 'Certificates are issued for one name, and a node may ask for its own only',
      remedy: `Set nodeName: ${nodeName} in the configuration of nodecertd (--hostname-override)`,
    },
  ];
}

function checkPlaces({ config, paths, wanted }: AdoptionFacts): Obstacle[] {
  const obstacles: Obstacle[] = [];
  const { certificateDirectory, kubeconfig } = paths;
  if (differ(certificateDirectory, config.certificateDirectory)) {
    obstacles.push({
      id: 'certificate-directory',
      what: `the kubelet keeps its pairs in ${certificateDirectory}, nodecertd in ${config.certificateDirectory}`,
      why: 'nodecertd would ask for new ones instead of taking over those that are there',
      remedy: `Set certificateDirectory: ${certificateDirectory} in the configuration of nodecertd (--cert-dir)`,
    });
  }
  if (
    wanted.client !== undefined &&
    kubeconfig !== undefined &&
    differ(kubeconfig, config.kubeconfig)
  ) {
    obstacles.push({
      id: 'kubeconfig-path',
      what: `the kubelet uses ${kubeconfig}, nodecertd ${config.kubeconfig}`,
      why: 'After a bootstrap nodecertd writes its own, and the kubelet does not learn of it',
      remedy: `Set kubeconfig: ${kubeconfig} in the configuration of nodecertd (--kubeconfig)`,
    });
  }
  return obstacles;
}

function differ(left: string, right: string): boolean {
  return join(left, '.') !== join(right, '.');
}

function checkBootstrap({ config, paths, wanted }: AdoptionFacts): Note[] {
  const { bootstrapKubeconfig } = paths;
  if (wanted.client === undefined || bootstrapKubeconfig === undefined) return [];
  if (config.bootstrapKubeconfig === bootstrapKubeconfig) return [];
  return [
    {
      id: 'bootstrap-kubeconfig',
      what: `the kubelet bootstraps with ${bootstrapKubeconfig}, nodecertd ${config.bootstrapKubeconfig === undefined ? 'with none' : `with ${config.bootstrapKubeconfig}`}`,
      why: 'A node whose certificate has expired gets a new one in no other way',
      remedy: `Set bootstrapKubeconfig: ${bootstrapKubeconfig} in the configuration of nodecertd`,
    },
  ];
}

function checkWatched({ config, paths, kubelet }: AdoptionFacts): Note[] {
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
      what: 'nodecertd looks elsewhere for what the kubelet goes by, and would not notice that it rotates again',
      remedy: `Set in the configuration of nodecertd: kubelet: { ${keys.join(', ')} }`,
    },
  ];
}

function checkAgentRuns({ live, agentPid, config }: AdoptionFacts): Note[] {
  if (!live || agentPid !== undefined) return [];
  return [
    {
      id: 'agent-not-running',
      what: `no nodecertd works on ${config.certificateDirectory}: nobody renews once the kubelet does not`,
      remedy: 'systemctl enable --now nodecertd',
    },
  ];
}
