import { installedConfigFile } from '../../src/cli/default-config.ts';
import { loadConfig } from '../../src/config/load.ts';

/** A file or variable, and what it is for. */
export interface Fact {
  readonly name: string;
  readonly text: string;
}

/** Where things are unless the configuration says otherwise: the paths are the program's own defaults. */
export async function files(): Promise<readonly Fact[]> {
  const { kubeconfig, certificateDirectory, stateDirectory, kubelet } = await loadConfig({
    file: undefined,
    flags: {},
    environment: { hostName: 'localhost', workingDirectory: '/' },
  });
  return [
    {
      name: installedConfigFile,
      text: 'The configuration of the service; status and doctor use it as well. It explains each key.',
    },
    {
      name: kubeconfig,
      text: 'The kubeconfig of the node: written after a bootstrap, used while its certificate is valid.',
    },
    {
      name: `${certificateDirectory}/NAME-current.pem`,
      text: 'A link to the current pair of the certificate NAME; older pairs stand beside it.',
    },
    {
      name: `${stateDirectory}/state.json`,
      text: 'Outstanding requests and where the agent listens. Nothing in it is secret.',
    },
    {
      name: kubelet.configFile,
      text: 'Read, to see whether the kubelet rotates the same certificates.',
    },
  ];
}

export const environmentVariables: readonly Fact[] = [
  { name: 'NO_COLOR', text: 'Any value but the empty one turns colours off.' },
  {
    name: 'TERM',
    text: 'With the value dumb, a line is printed for each change instead of a live table.',
  },
  {
    name: 'HTTPS_PROXY, HTTP_PROXY, NO_PROXY',
    text: 'Not used. A proxy to the API server is named by proxy-url in the kubeconfig.',
  },
];
