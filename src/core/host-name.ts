import type { AgentConfig } from './config.ts';

/**
 * Names that machines have before DHCP, cloud-init or an administrator gives them one;
 * `(none)` is the kernel's. Every such machine has the same, so it must not become the
 * name of a Node: a certificate for it can be corrected only by hand.
 */
export function isPlaceholderHostName(hostName: string): boolean {
  return /^(?:|\(none\)|localhost(?:\..*)?)$/.test(hostName);
}

export interface HostNameProblem {
  readonly message: string;
  readonly remedy: string;
}

/** Undefined unless the configuration waits for a host name. */
export function hostNameProblem({
  placeholderHostName: name,
}: Pick<AgentConfig, 'placeholderHostName'>): HostNameProblem | undefined {
  if (name === undefined) return undefined;
  return {
    message: `the host name "${name}" cannot name a Node, and no node name is configured; the agent waits until the host name is set`,
    remedy:
      'Set the host name: hostnamectl set-hostname NAME; or set nodeName (--hostname-override)',
  };
}
