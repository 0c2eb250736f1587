import { altNames, extensionIds, extensionOf, keyPurposes } from '../../core/certificate-parts.ts';
import { readDer } from '../../core/der.ts';
import type { ErrorCode } from '../../core/errors.ts';
import { printable } from '../../core/printable.ts';
import type { ChainCertificate } from './certificate-chain.ts';
import { subjectOf } from './certificate-chain.ts';

/** What differs between a new certificate and the one that it replaces, with both values. */
export interface Difference {
  readonly code: ErrorCode;
  readonly text: string;
}

/** Compares subject, SANs and usages. */
export function differencesBetween(
  found: ChainCertificate,
  expected: ChainCertificate,
): Difference[] {
  return [
    subjectDifference(found, expected),
    namesDifference(found, expected),
    usagesDifference(found, expected),
  ].filter((difference) => difference !== undefined);
}

/**
 * A CA may write a name with other string types and in its own order. Kubernetes reads only the
 * values of CN and O.
 */
function subjectDifference(
  found: ChainCertificate,
  expected: ChainCertificate,
): Difference | undefined {
  if (sortedSubject(found) === sortedSubject(expected)) return undefined;
  const text = `the subject is ${subjectOf(found)} instead of ${subjectOf(expected)}`;
  return { code: 'CERT_SUBJECT_MISMATCH', text };
}

/** OpenSSL writes each part of the name on its own line, and escapes line breaks in a part. */
function sortedSubject({ openssl }: ChainCertificate): string {
  return (openssl.subject ?? '').split('\n').sort().join('\n');
}

function namesDifference(
  found: ChainCertificate,
  expected: ChainCertificate,
): Difference | undefined {
  const [now, before] = [namesOf(found), namesOf(expected)];
  const missing = before.filter((name) => !now.includes(name));
  const additional = now.filter((name) => !before.includes(name));
  const parts = [
    ...(missing.length === 0 ? [] : [`the SANs lack ${missing.join(', ')}`]),
    ...(additional.length === 0 ? [] : [`the SANs have ${additional.join(', ')} in addition`]),
  ];
  if (parts.length === 0) return undefined;
  return { code: 'CERT_SAN_MISMATCH', text: parts.join(', and ') };
}

const dnsTag = 0x82;
const ipTag = 0x87;
const textTags: ReadonlyMap<number, string> = new Map([
  [0x81, 'email'],
  [0x86, 'URI'],
]);

/** DNS names and addresses in the form for comparisons, others as their bytes. */
function namesOf({ facts, parts }: ChainCertificate): string[] {
  const extension = extensionOf(parts, extensionIds.subjectAltName);
  const values = extension === undefined ? [] : altNames(extension).flatMap((der) => readDer(der));
  const others = values.filter(({ tag }) => tag !== dnsTag && tag !== ipTag);
  return [
    ...facts.dnsNames.map((name) => `DNS:${printable(name)}`),
    ...facts.ipAddresses.map((address) => `IP:${printable(address)}`),
    ...others.map(({ tag, content }) => {
      const kind = textTags.get(tag);
      return kind === undefined
        ? `${tag.toString(16)}:${Buffer.from(content).toString('hex')}`
        : `${kind}:${printable(Buffer.from(content).toString('latin1'))}`;
    }),
  ];
}

function usagesDifference(
  found: ChainCertificate,
  expected: ChainCertificate,
): Difference | undefined {
  const forms = [usageNames, purposeIds];
  const form = forms.find((show) => show(found) !== show(expected));
  if (form === undefined) return undefined;
  const text = `the usages are ${form(found)} instead of ${form(expected)}`;
  return { code: 'CERT_USAGE_MISMATCH', text };
}

function usageNames({ facts }: ChainCertificate): string {
  return facts.usages.join(', ') || 'none';
}

/** Some extended key usages have no name. */
function purposeIds({ parts }: ChainCertificate): string {
  return keyPurposes(parts)?.join(', ') ?? 'none';
}
