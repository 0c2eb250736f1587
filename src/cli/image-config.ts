import { realpath, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { LoadedConfig } from '../config/load.ts';
import { loadConfig } from '../config/load.ts';
import { AgentError } from '../core/errors.ts';
import { Tree } from '../sys/tree.ts';
import type { ConfigOptions } from './config-options.ts';
import type { CliContext } from './context.ts';
import { installedConfigFile } from './default-config.ts';

/** The image of a node, unpacked in a folder, and the configuration of the agent in it. */
export interface Image {
  readonly tree: Tree;
  readonly config: LoadedConfig;
  readonly hostName?: string;
}

/** @throws AgentError USAGE for a folder that is no image, CONFIG_* */
export async function loadImage(
  root: string,
  { config: named, ...flags }: ConfigOptions,
  { environment }: CliContext,
): Promise<Image> {
  const tree = new Tree(await imageFolder(resolve(environment.workingDirectory, root)));
  const hostName = (await tree.readText('/etc/hostname'))?.trim() || undefined;
  const file = named ?? installedConfigFile;
  const given = named !== undefined || (await tree.readText(file)) !== undefined;
  const loaded = await loadConfig({
    file: given ? (await tree.locate(file)).physical : undefined,
    flags,
    environment: { hostName: hostName ?? 'localhost', workingDirectory: '/' },
  });
  const config = withinImage(loaded, tree.root);
  return { tree, config, ...(hostName !== undefined && { hostName }) };
}

async function imageFolder(folder: string): Promise<string> {
  const found = await stat(folder).catch(() => undefined);
  if (found?.isDirectory() !== true) throw usage(`there is no folder ${folder}`);
  const real = await realpath(folder);
  const { dev, ino } = await stat(real);
  // /proc/PID/root is a link with the text "/" that leads to another root.
  const root = dev === found.dev && ino === found.ino ? real : folder;
  if (root === '/') throw usage('/ is this machine, not an image; leave --root out');
  return root;
}

function usage(message: string): AgentError {
  return new AgentError('USAGE', `--root: ${message}`, { remedy: 'See: nodecertd adopt --help' });
}

/** Paths relative to the configuration file were resolved outside of the image. */
function withinImage(config: LoadedConfig, root: string): LoadedConfig {
  const inside = (path: string): string =>
    path.startsWith(join(root, '/')) ? path.slice(root.length) : path;
  const { bootstrapKubeconfig, bootstrap, kubelet } = config;
  return {
    ...config,
    kubeconfig: inside(config.kubeconfig),
    certificateDirectory: inside(config.certificateDirectory),
    stateDirectory: inside(config.stateDirectory),
    ...(bootstrapKubeconfig !== undefined && { bootstrapKubeconfig: inside(bootstrapKubeconfig) }),
    bootstrap: {
      ...bootstrap,
      ...(bootstrap.discovery !== undefined && {
        discovery: { ...bootstrap.discovery, tokenFile: inside(bootstrap.discovery.tokenFile) },
      }),
    },
    kubelet: {
      ...kubelet,
      configFile: inside(kubelet.configFile),
      certificateDirectory: inside(kubelet.certificateDirectory),
      ...(kubelet.configDirectory !== undefined && {
        configDirectory: inside(kubelet.configDirectory),
      }),
    },
  };
}
