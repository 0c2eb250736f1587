/**
 * An IP address in the one text form in which addresses are compared: RFC 5952, and IPv4 for
 * IPv4-mapped IPv6, as Go's net.ParseIP does. Undefined for anything else, also for an address
 * with a zone (`%eth0`) or with leading zeros, which some resolvers read as octal
 * (CVE-2021-29923).
 */
export function canonicalIp(text: string): string | undefined {
  if (!text.includes(':')) return ipv4.test(text) ? text : undefined;
  // The URL parser writes IPv6 in the form of RFC 5952 (WHATWG URL, 3.5).
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
