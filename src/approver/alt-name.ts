import type { NodeAddress } from '../core/enroller-protocol.ts';
import type { IpBytes } from '../core/cidr.ts';
import { formatIp, parseIp } from '../core/cidr.ts';

/** A SAN of a CSR that passed the checks of its form. */
export type AltName =
  | { readonly kind: 'dns'; readonly name: string }
  | { readonly kind: 'ip'; readonly ip: IpBytes };

/** Equal for names that differ only in case and one trailing dot, and for equal addresses. */
export function altNameKey(altName: AltName): string {
  return altName.kind === 'dns' ? nameKey(altName.name) : ipKey(altName.ip);
}

function nameKey(name: string): string {
  return `dns:${foldName(name)}`;
}

function ipKey(ip: IpBytes): string {
  return `ip:${formatIp(ip)}`;
}

/**
 * The name with ASCII letters in lower case, without one trailing dot. Other letters stay, because
 * toLowerCase() turns the Kelvin sign into a k.
 */
export function foldName(name: string): string {
  return name.replace(/\.$/, '').replace(/[A-Z]/g, (letter) => letter.toLowerCase());
}

export function formatAltName(altName: AltName): string {
  return altName.kind === 'dns' ? altName.name : formatIp(altName.ip);
}

/**
 * The keys of everything that a Node's status.addresses allow as a SAN, by the kubelet's rules:
 * a Hostname that is an IP address is an IP SAN. Skips malformed entries.
 */
export function keysOfAddresses(addresses: readonly NodeAddress[]): Set<string> {
  return new Set(addresses.flatMap(keyOfAddress));
}

function keyOfAddress({ type, address }: NodeAddress): string[] {
  const ip = ipTypes.has(type) ? parseIp(address) : undefined;
  if (ip !== undefined) return [ipKey(ip)];
  return dnsTypes.has(type) && address !== '' ? [nameKey(address)] : [];
}

const ipTypes = new Set(['Hostname', 'InternalIP', 'ExternalIP']);
const dnsTypes = new Set(['Hostname', 'InternalDNS', 'ExternalDNS']);
