import type { IpBytes } from '../../core/cidr.ts';
import { cidrContains, formatIp, ipFromBytes, parseCidr, parseIp } from '../../core/cidr.ts';
import { printable } from '../../core/printable.ts';
import type { AltName } from '../alt-name.ts';
import { foldName } from '../alt-name.ts';
import type { RawAltName } from '../request/read-request.ts';

const dnsTag = 0x82;
const ipTag = 0x87;
const mostAltNames = 64;

/** GeneralName (RFC 5280 4.2.1.6) by its context tag. */
const otherKinds: Readonly<Record<number, string>> = {
  0xa0: 'an otherName',
  0x81: 'an e-mail address',
  0xa3: 'an x400Address',
  0xa4: 'a directoryName',
  0xa5: 'an ediPartyName',
  0x86: 'a URI',
  0x88: 'a registeredID',
};

/** The reason why a serving certificate must not have these SANs; undefined if it may. */
export function altNamesProblem(
  altNames: readonly RawAltName[],
  { allowLinkLocal }: { readonly allowLinkLocal: boolean },
): string | undefined {
  if (altNames.length === 0) return 'the subjectAltName is empty';
  if (altNames.length > mostAltNames) {
    return `the request has ${altNames.length} SANs, more than ${mostAltNames}`;
  }
  for (const altName of altNames) {
    const problem = altNameProblem(altName, allowLinkLocal ? 'link-local-allowed' : 'strict');
    if (problem !== undefined) return problem;
  }
  return undefined;
}

function altNameProblem(
  { tag, content }: RawAltName,
  rule: 'strict' | 'link-local-allowed',
): string | undefined {
  if (tag === dnsTag) return dnsProblem(String.fromCharCode(...content.subarray(0, 300)));
  if (tag !== ipTag) {
    return `a SAN is ${otherKinds[tag] ?? 'of an unknown kind'}, not a DNS name or an IP address`;
  }
  const ip = ipFromBytes(content);
  if (ip === undefined) return `an IP SAN has ${content.length} bytes`;
  const kind = specialRanges.find(({ ranges }) => ranges.some((cidr) => cidrContains(cidr, ip)));
  if (kind === undefined || (kind.name === 'link-local' && rule === 'link-local-allowed')) {
    return undefined;
  }
  return `the IP SAN ${formatIp(ip)} is ${kind.article} ${kind.name} address`;
}

/** One trailing dot is allowed here, because the checks of the name ignore it. */
function dnsProblem(name: string): string | undefined {
  const shown = JSON.stringify(printable(name, 100));
  if (name === '') return 'a DNS SAN is empty';
  const labels = name.replace(/\.$/, '').split('.');
  const isPlain = labels.every((label) => /^[A-Za-z0-9-]{1,63}$/.test(label));
  if (!isPlain || name.length > 254 || labels.join('.').length > 253) {
    return `the DNS SAN ${shown} is not a host name of letters, digits, hyphens and dots`;
  }
  const isIp = parseIp(foldName(name)) !== undefined;
  // Some resolvers read 010.0.0.1 as an address.
  const looksLikeIp = labels.length === 4 && labels.every((label) => /^\d+$/.test(label));
  return isIp || looksLikeIp ? `the DNS SAN ${shown} is an IP address` : undefined;
}

const specialRanges = [
  special('an', 'unspecified', ['0.0.0.0/32', '::/128']),
  special('a', 'loopback', ['127.0.0.0/8', '::1/128']),
  special('a', 'multicast', ['224.0.0.0/4', 'ff00::/8']),
  special('a', 'broadcast', ['255.255.255.255/32']),
  special('a', 'link-local', ['169.254.0.0/16', 'fe80::/10']),
];

function special(article: string, name: string, ranges: readonly string[]) {
  return { article, name, ranges: ranges.flatMap((text) => parseCidr(text) ?? []) };
}

/** The SANs in the form that later checks compare. Drops SANs that altNamesProblem() rejects by their kind. */
export function acceptedAltNames(altNames: readonly RawAltName[]): AltName[] {
  return altNames.flatMap(({ tag, content }): AltName[] => {
    if (tag === dnsTag)
      return [{ kind: 'dns', name: String.fromCharCode(...content.subarray(0, 300)) }];
    const ip: IpBytes | undefined = tag === ipTag ? ipFromBytes(content) : undefined;
    return ip === undefined ? [] : [{ kind: 'ip', ip }];
  });
}
