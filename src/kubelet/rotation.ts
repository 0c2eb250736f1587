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
 * The setting with which the kubelet rotates this certificate itself, in the files that
 * nodecertd would write. nodecertd must know it, because two programs that replace each other's
 * certificates are worse than either alone (k/k #46730). Undefined without such a setting, and
 * for an unreadable configuration, with which the kubelet does not start.
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
