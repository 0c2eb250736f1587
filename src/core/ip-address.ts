/**
 * The canonical text of an IP address: RFC 5952, and IPv4 for an IPv4-mapped IPv6 address, like
 * Go's net.ParseIP. Undefined for any other text, including an address with a zone (`%eth0`) or
 * with leading zeros, which some resolvers read as octal (CVE-2021-29923).
 */
export function canonicalIp(text: string): string | undefined {
  if (!text.includes(':')) return ipv4.test(text) ? text : undefined;
  // The URL parser formats IPv6 addresses by RFC 5952 (WHATWG URL, 3.5).
  const host = /^[\da-f:.]+$/i.test(text) ? URL.parse(`http://[${text}]`)?.hostname : undefined;
  const [, high, low] = /^\[::ffff:([\da-f]+):([\da-f]+)\]$/.exec(host ?? '') ?? [];
  if (high !== undefined && low !== undefined) return [...bytesOf(high), ...bytesOf(low)].join('.');
  return host?.slice(1, -1);
}

const byte = /(?:\d|[1-9]\d|1\d\d|2[0-4]\d|25[0-5])/.source;
const ipv4 = new RegExp(`^${byte}(?:\\.${byte}){3}$`);

function bytesOf(group: string): number[] {
  const value = Number.parseInt(group, 16);
  return [value >> 8, value & 0xff];
}
