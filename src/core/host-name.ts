import type { AgentConfig } from './config.ts';
import { subdomainPattern } from './node-name.ts';

/**
 * A host name that a certificate can contain. A wildcard replaces the leftmost label (RFC 6125
 * 6.4.3).
 */
export function isDnsName(text: string): boolean {
  const name = text.toLowerCase().replace(/^\*\.(?=.)/, '');
  return (
    name.length <= 253 &&
    subdomainPattern.test(name) &&
    name.split('.').every((part) => part.length <= 63)
  );
}

/** A name that a TLS client can request by SNI: no wildcard and no address (RFC 6066 3). */
export function isHostName(text: string): boolean {
  return isDnsName(text) && !text.includes('*') && !/^[\d.]+$/.test(text);
}

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
