import type { AgentConfig } from './config.ts';

/**
 * True for the names of a machine before DHCP, cloud-init or an administrator sets its host name;
 * `(none)` is the default of the kernel. Many machines share these names, so none of them may
 * name a Node: an administrator would have to replace its certificate by hand.
 */
export function isPlaceholderHostName(hostName: string): boolean {
  return /^(?:|\(none\)|localhost(?:\..*)?)$/.test(hostName);
}

export interface HostNameProblem {
  readonly message: string;
  readonly remedy: string;
}

/** Undefined unless the host name is a placeholder and certificates need a node name. */
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
