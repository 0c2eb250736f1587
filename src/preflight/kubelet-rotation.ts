import { realpath } from 'node:fs/promises';
import type { AgentConfig } from '../core/config.ts';
import type { Observed } from '../core/enrollment.ts';
import { readKubeletConfig } from './kubelet-config.ts';

/** The prefixes are the kubelet's own (pkg/kubelet/certificate/kubelet.go); the keys turn its managers on. */
const managers = {
  'kubelet-client': 'rotateCertificates',
  'kubelet-server': 'serverTLSBootstrap',
} as const;

/**
 * Whether the kubelet rotates this certificate itself, in the files that we would
 * write: two that replace each other's pairs are worse than either (k/k #46730).
 * Undefined also where its configuration cannot be read: it does not start with that.
 */
export async function rotatedByKubelet(
  config: Pick<AgentConfig, 'certificateDirectory' | 'kubelet'>,
  name: string,
): Promise<Observed | undefined> {
  const { kubelet, certificateDirectory } = config;
  const key = isManaged(name) ? managers[name] : undefined;
  if (!kubelet.standBack || key === undefined) return undefined;
  if (!(await isSame(certificateDirectory, kubelet.certificateDirectory))) return undefined;
  const facts = await readKubeletConfig({ kubelet }).catch(() => undefined);
  const setting = facts?.[key];
  return setting?.value === true ? { file: setting.file, key } : undefined;
}

/** The certificates that the agent stands back from, by their names. */
export async function observedCertificates(config: AgentConfig): Promise<ReadonlySet<string>> {
  const observed = new Set<string>();
  for (const { name } of config.certificates) {
    if ((await rotatedByKubelet(config, name)) !== undefined) observed.add(name);
  }
  return observed;
}

function isManaged(name: string): name is keyof typeof managers {
  return Object.hasOwn(managers, name);
}

async function isSame(a: string, b: string): Promise<boolean> {
  const [first, second] = await Promise.all([a, b].map((path) => realpath(path).catch(() => path)));
  return first === second;
}
