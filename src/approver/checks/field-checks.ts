import { altNamesProblem } from './alt-name-rules.ts';
import { formatAltName } from '../alt-name.ts';
import type { Check } from './check.ts';
import { deny, quoted } from './question.ts';
import type { SubjectAttribute } from '../request/read-request.ts';

const nodeGroup = 'system:nodes';
const [commonName, organization] = ['2.5.4.3', '2.5.4.10'];
/** UTF8String and PrintableString, which every parser reads as the same text. */
const stringTags = new Set([0x0c, 0x13]);
const requiredUsages = ['digital signature', 'server auth'];
const allowedUsages = new Set([...requiredUsages, 'key encipherment']);

export const fieldChecks: readonly Check[] = [
  {
    id: '3.1',
    codes: ['SubjectMismatch'],
    passesIf: 'the subject is O=system:nodes and CN=the requestor, and nothing else',
    judge: ({ request, csr }) => {
      const { subject } = request;
      const isExact =
        subject.length === 2 &&
        subject.some((attribute) => isText(attribute, organization, nodeGroup)) &&
        subject.some((attribute) => isText(attribute, commonName, csr.username));
      if (isExact) return undefined;
      return deny(
        'SubjectMismatch',
        `the subject is ${quoted(formatSubject(subject))}, not O=${nodeGroup}, CN=${csr.username}`,
        'Check the program on the node that creates the CSR; a kubelet requests this subject',
      );
    },
    facts: ({ request, csr }) => [
      { fact: 'subject', value: formatSubject(request.subject), source: 'CSR' },
      { fact: 'requestor', value: csr.username, source: 'CSR' },
    ],
  },
  {
    id: '3.2',
    codes: ['UsagesNotAllowed'],
    passesIf: 'the usages are digital signature and server auth, with or without key encipherment',
    judge: ({ csr }) => {
      const foreign = csr.usages.filter((usage) => !allowedUsages.has(usage));
      const missing = requiredUsages.filter((usage) => !csr.usages.includes(usage));
      if (foreign.length === 0 && missing.length === 0) return undefined;
      const message =
        foreign.length > 0
          ? `the usage ${quoted(foreign[0] ?? '')} is not allowed`
          : `the usage "${missing[0]}" is missing`;
      const remedy = 'Check the program on the node that creates the CSR';
      return deny('UsagesNotAllowed', message, remedy);
    },
    facts: ({ csr }) => [{ fact: 'usages', value: csr.usages.join(', '), source: 'CSR' }],
  },
  {
    id: '3.3',
    codes: ['ExpirationTooLong'],
    passesIf: 'the lifetime is not set, or at most maxExpirationSeconds',
    judge: ({ csr, policy }) => {
      const { expirationSeconds } = csr;
      const { maxExpirationSeconds } = policy;
      if (expirationSeconds === undefined || expirationSeconds <= maxExpirationSeconds) {
        return undefined;
      }
      return deny(
        'ExpirationTooLong',
        `the CSR requests ${expirationSeconds} s, more than ${maxExpirationSeconds} s`,
        'Request a shorter lifetime, or raise maxExpirationSeconds in the policy',
      );
    },
    facts: ({ csr, policy }) => [
      {
        fact: 'expirationSeconds',
        value: String(csr.expirationSeconds ?? 'not set'),
        source: 'CSR',
      },
      {
        fact: 'maxExpirationSeconds',
        value: String(policy.maxExpirationSeconds),
        source: 'policy',
      },
    ],
  },
  {
    id: '3.4',
    codes: ['AltNamesNotAllowed'],
    passesIf: 'there are 1 to 64 SANs, each a host name or a usable IP address',
    judge: ({ request, policy }) => {
      const problem = altNamesProblem(request.altNames, policy);
      if (problem === undefined) return undefined;
      const remedy = 'Check the addresses of the node, and the program that creates the CSR';
      return deny('AltNamesNotAllowed', problem, remedy);
    },
    facts: ({ altNames }) => [
      { fact: 'SANs', value: altNames.map(formatAltName).join(', '), source: 'CSR' },
    ],
  },
];

function isText({ oid, tag, value }: SubjectAttribute, wanted: string, text: string): boolean {
  return (
    oid === wanted && stringTags.has(tag) && Buffer.compare(value, Buffer.from(text, 'utf8')) === 0
  );
}

function formatSubject(subject: readonly SubjectAttribute[]): string {
  const names: Readonly<Record<string, string>> = {
    [commonName]: 'CN',
    [organization]: 'O',
    '2.5.4.11': 'OU',
    '2.5.4.5': 'serialNumber',
  };
  return subject
    .map(({ oid, value }) => `${names[oid] ?? oid}=${Buffer.from(value).toString('utf8')}`)
    .join(', ');
}
