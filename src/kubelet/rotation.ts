import { realpath } from 'node:fs/promises';
import type { AgentConfig } from '../core/config.ts';
import type { Observed } from '../core/enroller-protocol.ts';
import type { KubeletFacts } from './configuration.ts';
import { readKubeletConfig } from './configuration.ts';

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
  if (!isManaged(name) || !(await defersToKubelet(config))) return undefined;
  const facts = await readKubeletConfig(config).catch(() => undefined);
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
}: Pick<AgentConfig, 'certificateDirectory' | 'kubelet'>): Promise<boolean> {
  return kubelet.deferToKubelet && isSame(certificateDirectory, kubelet.certificateDirectory);
}

function managedBy(facts: KubeletFacts, name: string): Observed | undefined {
  if (!isManaged(name)) return undefined;
  const key = managers[name];
  const setting = facts[key];
  return setting?.value === true ? { file: setting.file, key } : undefined;
}

function isManaged(name: string): name is keyof typeof managers {
  return Object.hasOwn(managers, name);
}

async function isSame(a: string, b: string): Promise<boolean> {
  const [first, second] = await Promise.all([a, b].map((path) => realpath(path).catch(() => path)));
  return first === second;
}
