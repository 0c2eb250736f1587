import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { cacheDirectory, findProgram, shortDigest, skip } from './programs.ts';

/**
 * The Debian of the containers: the packages of a node, and tools that check packages,
 * manual pages and completions.
 */
export const containerSystem = {
  suite: 'bookworm',
  base: ['systemd', 'systemd-sysv', 'dbus', 'ca-certificates'],
  tools: ['libatomic1', 'man-db', 'mandoc', 'bash-completion', 'zsh', 'fish', 'lintian'],
} as const;

/** Programs that the host needs to run a container. */
const programs = ['systemd-nspawn', 'unshare', 'nsenter', 'setpriv', 'mount'] as const;

/**
 * `make container` creates it, and no test writes to it. Each set of packages has its
 * own folder.
 */
export function containerRoot(): string {
  const digest = shortDigest(JSON.stringify(containerSystem));
  return join(cacheDirectory, 'containers', `${containerSystem.suite}-${digest}`);
}

/** The packages of a node that runs pods, in addition to those of the root. */
export const nodePackages = [
  'containerd',
  'runc',
  'containernetworking-plugins',
  'iproute2',
  'iptables',
  'conntrack',
  'ethtool',
  'socat',
  'procps',
] as const;

/** A layer over the root with these packages, which `make kubeadm-node` creates. */
export function nodeLayer(): string {
  const digest = shortDigest(containerRoot(), ...nodePackages);
  return join(cacheDirectory, 'containers', `node-${digest}`);
}

/** For the `skip` option of a test: false if this machine can boot containers. */
export function skipWithoutContainer(): string | false {
  const obstacle = containerObstacle();
  return obstacle === undefined ? false : skip(`tests in a container: ${obstacle}`);
}

function containerObstacle(): string | undefined {
  if (process.getuid?.() !== 0) return 'they need root';
  const missing = programs.filter((name) => findProgram(name) === undefined);
  if (missing.length > 0) return `${missing.join(', ')} not found`;
  return existsSync(containerRoot()) ? undefined : 'make container has not made their root';
}
