import { canonicalIp } from './ip-address.ts';

/** An IP address as bytes: 4 for IPv4, also for an IPv4-mapped IPv6 address, and 16 for IPv6. */
export type IpBytes = Uint8Array;

/** A range of addresses. The bytes after the prefix are zero. */
export interface Cidr {
  readonly address: IpBytes;
  /** The number of leading bits that all addresses of the range share. */
  readonly prefix: number;
}

/** Undefined for text that is not an address; see canonicalIp. */
export function parseIp(text: string): IpBytes | undefined {
  const canonical = canonicalIp(text);
  if (canonical === undefined) return undefined;
  return canonical.includes(':')
    ? ipv6Bytes(canonical)
    : Uint8Array.from(canonical.split('.'), Number);
}

function ipv6Bytes(canonical: string): IpBytes {
  const [left = '', right] = canonical.split('::');
  const [head, tail] = [groupsOf(left), groupsOf(right ?? '')];
  const zeros = Array.from({ length: 8 - head.length - tail.length }, () => 0);
  const groups = right === undefined ? head : [...head, ...zeros, ...tail];
  return Uint8Array.from(groups.flatMap((group) => [group >> 8, group & 0xff]));
}

function groupsOf(text: string): number[] {
  return text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16));
}

/** The address as in a certificate, with an IPv4-mapped one as IPv4. Undefined for another length. */
export function ipFromBytes(bytes: Uint8Array): IpBytes | undefined {
  if (bytes.length === 4) return bytes;
  if (bytes.length !== 16) return undefined;
  return isMapped(bytes) ? bytes.subarray(12) : bytes;
}

function isMapped(bytes: Uint8Array): boolean {
  return bytes.subarray(0, 12).every((byte, index) => byte === (index < 10 ? 0 : 0xff));
}

/** The canonical text of the address. */
export function formatIp(ip: IpBytes): string {
  if (ip.length === 4) return ip.join('.');
  const groups = Array.from({ length: 8 }, (_, index) =>
    (((ip[2 * index] ?? 0) << 8) | (ip[2 * index + 1] ?? 0)).toString(16),
  );
  return canonicalIp(groups.join(':')) ?? groups.join(':');
}

/**
 * Undefined for text that is not a range. Clears the bits after the prefix; an IPv4-mapped range
 * becomes an IPv4 range.
 */
export function parseCidr(text: string): Cidr | undefined {
  const [, host = '', length = ''] = /^([^/]+)\/(0|[1-9]\d{0,2})$/.exec(text) ?? [];
  const address = parseIp(host);
  if (address === undefined) return undefined;
  const mappedBits = address.length === 4 && host.includes(':') ? 96 : 0;
  const prefix = Number(length) - mappedBits;
  if (prefix < 0 || prefix > address.length * 8) return undefined;
  return { address: maskedIp(address, prefix), prefix };
}

export function formatCidr({ address, prefix }: Cidr): string {
  return `${formatIp(address)}/${prefix}`;
}

/** The address with zeros after the prefix. */
export function maskedIp(ip: IpBytes, prefix: number): IpBytes {
  return ip.map((byte, index) => {
    const bits = Math.min(Math.max(prefix - index * 8, 0), 8);
    return byte & (0xff << (8 - bits)) & 0xff;
  });
}

/** An IPv4 range never contains an IPv6 address, and the other way round. */
export function cidrContains({ address, prefix }: Cidr, ip: IpBytes): boolean {
  if (address.length !== ip.length) return false;
  const whole = prefix >> 3;
  for (let index = 0; index < whole; index += 1) if (address[index] !== ip[index]) return false;
  const rest = prefix & 7;
  return rest === 0 || ((address[whole] ?? 0) ^ (ip[whole] ?? 0)) >> (8 - rest) === 0;
}
