import { networkInterfaces } from 'node:os';
import { canonicalIp } from '../core/ip-address.ts';

/**
 * Addresses of this machine by which others can reach it: not loopback, and not
 * link-local, which means nothing beyond one wire (RFC 3927, RFC 4291 2.5.6).
 */
export function interfaceAddresses(): string[] {
  const all = Object.values(networkInterfaces()).flatMap((addresses) => addresses ?? []);
  const usable = all
    .filter(({ internal, address }) => !internal && !/^(169\.254\.|fe[89ab])/i.test(address))
    .map(({ address }) => canonicalIp(address))
    .filter((address) => address !== undefined);
  return [...new Set(usable)].sort();
}
