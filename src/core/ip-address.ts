/**
 * IP addresses compared as the bytes they stand for: `::1` and `0:0:0:0:0:0:0:1`
 * are one address, and `::ffff:10.0.0.1` is not `10.0.0.1` in an X.509 SAN but is
 * the same host (Go's net.ParseIP folds the two, and so does the kubelet).
 */

/** Four or sixteen bytes, or undefined when the text is no IP address; a zone (`%eth0`) makes it none. */
export function parseIp(text: string): Uint8Array<ArrayBuffer> | undefined {
  return text.includes(':') ? parseIpv6(text) : parseIpv4(text);
}

/** RFC 5952 text of an address, or undefined when the text is no IP address; IPv4-mapped IPv6 becomes IPv4. */
export function canonicalIp(text: string): string | undefined {
  const bytes = parseIp(text);
  return bytes === undefined ? undefined : formatIp(bytes);
}

/** RFC 5952: lower case, the longest run of zero groups (two at least) shortened, the first of equals. */
export function formatIp(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join('.');
  if (isIpv4Mapped(bytes)) return bytes.subarray(12).join('.');
  const groups = Array.from({ length: 8 }, (_, index) => {
    const high = bytes[2 * index] ?? 0;
    const low = bytes[2 * index + 1] ?? 0;
    return (high * 256 + low).toString(16);
  });
  const run = longestZeroRun(groups);
  if (run.length < 2) return groups.join(':');
  return `${groups.slice(0, run.start).join(':')}::${groups.slice(run.start + run.length).join(':')}`;
}

function isIpv4Mapped(bytes: Uint8Array): boolean {
  return (
    bytes.subarray(0, 10).every((byte) => byte === 0) && bytes[10] === 0xff && bytes[11] === 0xff
  );
}

function longestZeroRun(groups: readonly string[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  let start = 0;
  for (let index = 0; index <= groups.length; index += 1) {
    if (index < groups.length && groups[index] === '0') continue;
    if (index - start > best.length) best = { start, length: index - start };
    start = index + 1;
  }
  return best;
}

function parseIpv4(text: string): Uint8Array<ArrayBuffer> | undefined {
  const parts = text.split('.');
  // Leading zeros are refused: some resolvers read them as octal (CVE-2021-29923).
  if (parts.length !== 4 || !parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part)))
    return undefined;
  const bytes = parts.map(Number);
  return bytes.every((byte) => byte <= 255) ? Uint8Array.from(bytes) : undefined;
}

function parseIpv6(text: string): Uint8Array<ArrayBuffer> | undefined {
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  // RFC 4291 2.2: the dotted form is for the last 32 bits only.
  if (halves.length === 2 && halves[0]?.includes('.')) return undefined;
  const [head, tail] = halves.map((half) => parseGroups(half));
  if (head === undefined) return undefined;
  if (halves.length === 1) return head.length === 16 ? Uint8Array.from(head) : undefined;
  if (tail === undefined || head.length + tail.length > 14) return undefined;
  const gap = Array.from({ length: 16 - head.length - tail.length }, () => 0);
  return Uint8Array.from([...head, ...gap, ...tail]);
}

/** The bytes of `a:b:c` or `a:b:1.2.3.4`; an empty text has none. */
function parseGroups(text: string): number[] | undefined {
  if (text === '') return [];
  const bytes: number[] = [];
  const groups = text.split(':');
  for (const [index, group] of groups.entries()) {
    if (/^[0-9a-fA-F]{1,4}$/.test(group)) {
      const value = Number.parseInt(group, 16);
      bytes.push(value >> 8, value & 0xff);
      continue;
    }
    const ipv4 = index === groups.length - 1 ? parseIpv4(group) : undefined;
    if (ipv4 === undefined) return undefined;
    bytes.push(...ipv4);
  }
  return bytes;
}
