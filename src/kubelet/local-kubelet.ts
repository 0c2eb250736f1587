import { dirname, resolve } from 'node:path';
import { describeError } from '../core/errors.ts';
import type { KubeletFacts, KubeletSetting } from './configuration.ts';
import { readKubeletConfig } from './configuration.ts';
import type { KubeletFlagName } from './flags.ts';
import { defaultCertificateDirectory, flagNamed, flaggedPath } from './flags.ts';
import type { KubeletPlaces, KubeletStart } from './start.ts';
import { findKubeletStart, unknownStart } from './start.ts';

/** The kubelet of this machine, found without the configuration of nodecertd. */
export interface LocalKubelet {
  /** False on a machine without any trace of a kubelet. */
  readonly found: boolean;
  readonly certificateDirectory: string;
  /** The directory of static pods, or the file of the only one. */
  readonly staticPodPath: string;
  /** The address and port that the kubelet listens on. */
  readonly address: string;
  readonly port: number;
  readonly kubeconfig?: string;
  readonly bootstrapKubeconfig?: string;
  readonly tlsCertFile?: string;
  readonly tlsPrivateKeyFile?: string;
  readonly clientCAFile?: string;
  /** The kubelet requests its serving certificate, and rotates it. */
  readonly serverTLSBootstrap: boolean;
  /** The files that could not be read, so that the kubelet may have other settings. */
  readonly problems: readonly { readonly path: string; readonly reason: string }[];
}

/** kubeadm's file. Read only if the command line of the kubelet is unknown. */
const usualConfigFile = '/var/lib/kubelet/config.yaml';

/** kubeadm's directory. The kubelet itself has no default, and then runs no static pods. */
export const usualStaticPodPath = '/etc/kubernetes/manifests';

export interface LocalKubeletPlaces extends KubeletPlaces {
  readonly configFile?: string;
}

/** Finds the kubelet and its settings. Never rejects: it may be broken where other files are not. */
export async function findLocalKubelet(places: LocalKubeletPlaces = {}): Promise<LocalKubelet> {
  const start = await findKubeletStart(places).catch(() => unknownStart);
  const fallback = places.configFile ?? usualConfigFile;
  const configFile =
    flaggedPath(start, 'config') ?? (start.source === 'unknown' ? fallback : undefined);
  const { facts, problems } = await readFacts(configFile, flaggedPath(start, 'config-dir'));
  const settings = new Settings(start, facts);
  const path = (name: KubeletFlagName, key?: PathKey): string | undefined =>
    settings.path(name, key);
  return {
    found: start.source !== 'unknown' || start.unit !== undefined || facts?.found === true,
    certificateDirectory: path('cert-dir') ?? defaultCertificateDirectory,
    staticPodPath: path('pod-manifest-path', 'staticPodPath') ?? usualStaticPodPath,
    address: settings.text('address', facts?.address?.value) ?? '0.0.0.0',
    port: Number(settings.text('port', facts?.port?.value) ?? 10_250),
    serverTLSBootstrap:
      settings.text('rotate-server-certificates', facts?.serverTLSBootstrap?.value) === 'true',
    ...definedPaths({
      kubeconfig: path('kubeconfig'),
      bootstrapKubeconfig: path('bootstrap-kubeconfig'),
      tlsCertFile: path('tls-cert-file', 'tlsCertFile'),
      tlsPrivateKeyFile: path('tls-private-key-file', 'tlsPrivateKeyFile'),
      clientCAFile: path('client-ca-file', 'clientCAFile'),
    }),
    problems,
  };
}

type PathKey = 'staticPodPath' | 'tlsCertFile' | 'tlsPrivateKeyFile' | 'clientCAFile';

/** The settings of a kubelet. A flag overrides the configuration files. */
class Settings {
  readonly #start: KubeletStart;
  readonly #facts: KubeletFacts | undefined;

  constructor(start: KubeletStart, facts: KubeletFacts | undefined) {
    this.#start = start;
    this.#facts = facts;
  }

  text(name: KubeletFlagName, value?: string | number | boolean): string | undefined {
    const text = flagNamed(this.#start.flags, name)?.value ?? value?.toString();
    return text === '' ? undefined : text;
  }

  path(name: KubeletFlagName, key?: PathKey): string | undefined {
    return flaggedPath(this.#start, name) ?? this.#filePath(key && this.#facts?.[key]);
  }

  /** A relative path starts at the folder of the main file (configfiles.go), in a drop-in where the kubelet starts. */
  #filePath(setting: KubeletSetting<string> | undefined): string | undefined {
    if (setting === undefined || setting.value === '') return undefined;
    const main = this.#facts?.file ?? '/';
    const base = setting.file === main ? dirname(main) : this.#start.workingDirectory;
    return resolve(base, setting.value);
  }
}

async function readFacts(
  configFile: string | undefined,
  configDirectory: string | undefined,
): Promise<Pick<LocalKubelet, 'problems'> & { readonly facts?: KubeletFacts }> {
  if (configFile === undefined) return { problems: [] };
  const kubelet = { configFile, ...(configDirectory !== undefined && { configDirectory }) };
  try {
    return { facts: await readKubeletConfig({ kubelet }), problems: [] };
  } catch (error) {
    return { problems: [{ path: configFile, reason: describeError(error) }] };
  }
}

type Defined<T> = { readonly [K in keyof T]?: Exclude<T[K], undefined> };

function definedPaths<T extends Record<string, string | undefined>>(paths: T): Defined<T> {
  const entries = Object.entries(paths).filter(([, path]) => path !== undefined);
  return Object.fromEntries(entries) as Defined<T>;
}
