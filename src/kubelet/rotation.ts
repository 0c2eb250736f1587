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

/** The names are the kubelet's own (pkg/kubelet/certificate/kubelet.go); the keys turn its managers on. */
const managers = {
  'kubelet-client': 'rotateCertificates',
  'kubelet-server': 'serverTLSBootstrap',
} as const;

/**
 * The settings of the kubelet that works in `kubelet.certificateDirectory`: its
 * configuration files, and the flags that override them.
 * @throws AgentError CONFIG_INVALID, STORE_PERMISSIONS, STORE_IO
 */
export async function readKubelet(
  config: { readonly kubelet: AgentConfig['kubelet'] },
  places?: KubeletPlaces,
): Promise<KubeletFacts> {
  const facts = await readKubeletConfig(config);
  // Files that cannot be read keep flags unknown; the files of the configuration still count.
  const start = await findKubeletStart(places).catch(() => undefined);
  if (start === undefined) return facts;
  const directory = flaggedPath(start, 'cert-dir') ?? defaultCertificateDirectory;
  const isThisOne = await isSamePath(directory, config.kubelet.certificateDirectory);
  return isThisOne ? withFlags(facts, start) : facts;
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
 * Whether the kubelet rotates this certificate itself, in the files that nodecertd would
 * write: two rotators that replace each other's certificates are worse than either alone
 * (k/k #46730). Undefined also when its configuration cannot be read, because the kubelet
 * does not start with it.
 */
export async function rotatedByKubelet(
  config: DirectoryConfig,
  name: string,
  places?: KubeletPlaces,
): Promise<Observed | undefined> {
  if (!isManaged(name) || !(await defersToKubelet(config))) return undefined;
  const facts = await readKubelet(config, places).catch(() => undefined);
  return facts && managedBy(facts, name);
}

/** The names of the certificates that the agent leaves to the kubelet. */
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
