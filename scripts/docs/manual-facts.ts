import { installedConfigFile } from '../../src/cli/default-config.ts';
import { defaultBootstrapKubeconfig } from '../../src/core/remedies.ts';
import { loadConfig } from '../../src/config/load.ts';
import { defaultDirectories } from '../../src/pki/layout.ts';

/** A file or environment variable, and its purpose. */
export interface Fact {
  readonly name: string;
  readonly text: string;
}

/** The files at their default paths, taken from the defaults of the program. */
export async function files(): Promise<readonly Fact[]> {
  const { kubeconfig, certificateDirectory, stateDirectory, kubelet } = await loadConfig({
    file: undefined,
    flags: {},
    environment: { hostName: 'localhost', workingDirectory: '/' },
  });
  return [
    {
      name: installedConfigFile,
      text: 'The configuration of the service, which explains each key. status, doctor, renew, and adopt use it too.',
    },
    {
      name: kubeconfig,
      text: 'The kubeconfig of the node, written after the bootstrap.',
    },
    {
      name: defaultBootstrapKubeconfig,
      text: 'The bootstrap kubeconfig with a token, which discover writes and the agent uses for the first certificate.',
    },
    {
      name: `${certificateDirectory}/NAME-current.pem`,
      text: 'A symbolic link to the PEM file with the current certificate NAME and its key. Previous files are in the same directory.',
    },
    {
      name: `${stateDirectory}/state.json`,
      text: 'Pending requests and the addresses of the agent. Contains no secrets.',
    },
    {
      name: `${stateDirectory}/kubeconfig`,
      text: 'A copy of the last intact kubeconfig, with which nodecertd repairs a corrupt one.',
    },
    {
      name: kubelet.configFile,
      text: 'The configuration of the kubelet. nodecertd reads it to find out whether the kubelet rotates the same certificates.',
    },
    {
      name: defaultDirectories.certificates,
      text: 'The certificates that kubeadm creates on a control-plane node. The certs commands list and verify them.',
    },
  ];
}

export const environmentVariables: readonly Fact[] = [
  { name: 'NO_COLOR', text: 'Any nonempty value turns colors off.' },
  { name: 'TERM', text: 'The value dumb turns colors off.' },
  {
    name: 'HTTPS_PROXY, NO_PROXY',
    text: 'The proxy to the API server, and the hosts without a proxy. proxy-url in the kubeconfig takes precedence.',
  },
];
