import { networkInterfaces } from 'node:os';
import { sortedUnique } from '../core/alt-names.ts';
import { canonicalIp } from '../core/ip-address.ts';

/**
 * Interfaces that a cluster's own networking makes. Their addresses are the same on
 * every node (kube-ipvs0 carries each ClusterIP, docker0 is 172.17.0.1 everywhere) or
 * lead to pods: a certificate with one would speak for more than this node, and be
 * renewed with each Service that comes and goes.
 */
const ofTheCluster = [
  /^(kube-|nodelocaldns|docker|cni|cbr|flannel|cali|vxlan\.calico|wireguard\.cali|veth|lxc|cilium|dummy)/,
  /^(tunl|virbr)\d/,
  // Networks of docker beside docker0; a bridge that a person made has a name, not a number.
  /^br-[0-9a-f]{12}$/,
];

/** Meaningless beyond one wire: RFC 3927, RFC 4291 2.5.6. */
const linkLocal = /^(169\.254\.|fe[89ab])/i;

/** Addresses of this machine by which others can reach it: not loopback, not link-local, not the cluster's own. */
export function interfaceAddresses(interfaces = networkInterfaces()): string[] {
  const usable = Object.entries(interfaces)
    .filter(([name]) => !ofTheCluster.some((pattern) => pattern.test(name)))
    .flatMap(([, addresses]) => addresses ?? [])
    .filter(({ internal, address }) => !internal && !linkLocal.test(address))
    .map(({ address }) => canonicalIp(address))
    .filter((address) => address !== undefined);
  return sortedUnique(usable);
}
