import { setImmediate } from 'node:timers/promises';
import type { AgentConfig } from '../core/config.ts';
import type { Observed } from '../core/enroller-protocol.ts';
import type { KubeletFacts } from './configuration.ts';
import { readKubeletConfig } from './configuration.ts';
import { defaultCertificateDirectory, flagNamed, flagValue, flaggedPath } from './flags.ts';
import type { SettingKey } from './flags.ts';
import { settingFlags } from './flags.ts';
import { isSamePath } from '../sys/same-path.ts';
import type { KubeletPlaces, KubeletStart } from './start.ts';
import { findKubeletStart } from './start.ts';

type DirectoryConfig = Pick<AgentConfig, 'certificateDirectory' | 'kubelet'>;

/**
 * The kubelet's names for its certificates (pkg/kubelet/certificate/kubelet.go), and the
 * settings with which it rotates them.
 */
const managers = {
  'kubelet-client': 'rotateCertificates',
  'kubelet-server': 'serverTLSBootstrap',
} as const;

/**
 * The settings of the kubelet that uses `kubelet.certificateDirectory`, from its configuration
 * files and the flags that override them.
 * @throws AgentError CONFIG_INVALID, STORE_PERMISSIONS, STORE_IO
 */
export async function readKubelet(
  config: { readonly kubelet: AgentConfig['kubelet'] },
  places?: KubeletPlaces,
): Promise<KubeletFacts> {
  const facts = await readKubeletConfig(config);
  // If the start of the kubelet cannot be read, its configuration files still apply.
  const start = await findKubeletStart(places).catch(() => undefined);
  if (start === undefined) return facts;
  const directory = flaggedPath(start, 'cert-dir') ?? defaultCertificateDirectory;
  const usesDirectory = await isSamePath(directory, config.kubelet.certificateDirectory);
  return usesDirectory ? withFlags(facts, start) : facts;
}

function withFlags(facts: KubeletFacts, { flags, commandLine: file }: KubeletStart): KubeletFacts {
  const keys = Object.keys(settingFlags) as SettingKey[];
  const overridden = keys.flatMap((key) => {
    const flag = flagNamed(flags, settingFlags[key]);
    const value = flag && flagValue(flag);
    return flag === undefined || value === undefined
      ? []
      : [[key, { value, file, flag: flag.name }] as const];
  });
  if (overridden.length === 0) return facts;
  return { ...facts, found: true, ...Object.fromEntries(overridden) };
}

/**
 * Tells which certificates the kubelet rotates itself, in the files that nodecertd would write.
 * nodecertd must know them, because two programs that replace each other's certificates are worse
 * than either alone (k/k #46730).
 */
export class KubeletRotation {
  readonly #config: DirectoryConfig;
  readonly #places: KubeletPlaces | undefined;
  #nextReading: Promise<KubeletFacts | undefined> | undefined;

  constructor(config: DirectoryConfig, places?: KubeletPlaces) {
    this.#config = config;
    this.#places = places;
  }

  /**
   * The setting with which the kubelet rotates this certificate. Undefined without such a
   * setting, and for an unreadable configuration, with which the kubelet does not start.
   *
   * A reading searches /proc and runs systemctl, about 10 ms. The keeper requests the inspections
   * of all certificates at once, so calls in one turn of the event loop share a reading. No call
   * shares a reading that has already started, because it may miss the change that the call is
   * about.
   */
  async settingFor(name: string): Promise<Observed | undefined> {
    if (!isManaged(name)) return undefined;
    this.#nextReading ??= this.#read();
    const facts = await this.#nextReading;
    return facts && managedBy(facts, name);
  }

  async #read(): Promise<KubeletFacts | undefined> {
    await setImmediate();
    this.#nextReading = undefined;
    if (!(await defersToKubelet(this.#config))) return undefined;
    return readKubelet(this.#config, this.#places).catch(() => undefined);
  }
}

/** The names of the certificates that the agent only observes, because the kubelet rotates them. */
export async function observedCertificates(
  config: AgentConfig,
  facts: KubeletFacts | undefined,
): Promise<ReadonlySet<string>> {
  if (facts === undefined || !(await defersToKubelet(config))) return new Set();
  const names = config.certificates.map(({ name }) => name);
  return new Set(names.filter((name) => managedBy(facts, name) !== undefined));
}

async function defersToKubelet({
  kubelet,
  certificateDirectory,
}: DirectoryConfig): Promise<boolean> {
  return kubelet.deferToKubelet && isSamePath(certificateDirectory, kubelet.certificateDirectory);
}

function managedBy(facts: KubeletFacts, name: string): Observed | undefined {
  if (!isManaged(name)) return undefined;
  const key = managers[name];
  const setting = facts[key];
  if (setting?.value !== true) return undefined;
  return { file: setting.file, key: setting.flag === undefined ? key : `--${setting.flag}` };
}

function isManaged(name: string): name is keyof typeof managers {
  return Object.hasOwn(managers, name);
}
