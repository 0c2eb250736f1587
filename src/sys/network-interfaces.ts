import { networkInterfaces } from 'node:os';
import { sortedUnique } from '../core/alt-names.ts';
import { canonicalIp } from '../core/ip-address.ts';

/**
 * Interfaces of the cluster network. Their addresses are the same on every node (kube-ipvs0
 * has each ClusterIP, docker0 is 172.17.0.1) or belong to pods. A certificate with such an
 * address would be valid for more than this node, and change with every Service.
 */
const clusterInterfaces = [
  /^(kube-|nodelocaldns|docker|cni|cbr|flannel|cali|vxlan\.calico|wireguard\.cali|veth|lxc|cilium|dummy)/,
  /^(tunl|virbr)\d/,
  // Other docker networks. A bridge with a name of another form belongs to an administrator.
  /^br-[0-9a-f]{12}$/,
];

/** Link-local addresses: RFC 3927, RFC 4291 2.5.6. */
const linkLocal = /^(169\.254\.|fe[89ab])/i;

/**
 * Addresses under which other machines reach this one: not loopback, not link-local, not of
 * the cluster network.
 */
export function interfaceAddresses(interfaces = networkInterfaces()): string[] {
  const usable = Object.entries(interfaces)
    .filter(([name]) => !clusterInterfaces.some((pattern) => pattern.test(name)))
    .flatMap(([, addresses]) => addresses ?? [])
    .filter(({ internal, address }) => !internal && !linkLocal.test(address))
    .map(({ address }) => canonicalIp(address))
    .filter((address) => address !== undefined);
  return sortedUnique(usable);
}
