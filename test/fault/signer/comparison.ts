import { isDeepStrictEqual } from 'node:util';
import type { AltName } from '../../../src/approver/alt-name.ts';
import { formatAltName } from '../../../src/approver/alt-name.ts';
import { Question } from '../../../src/approver/checks/question.ts';
import type { QuestionInput } from '../../../src/approver/checks/question.ts';
import { evaluate } from '../../../src/approver/evaluate.ts';
import { afterGrace, factsOf, node, policy, servingCsr } from '../../approver/cluster.ts';
import type { Owner } from '../fuzz/request-changes.ts';
import type { Candidate } from './candidates.ts';
import type { GoReading } from './signer-judge.ts';

/** What the policy has read in a request that it approves. */
export interface ApprovedFacts {
  readonly subject: readonly (readonly [string, string])[];
  readonly dns: readonly string[];
  readonly ips: readonly string[];
  readonly keyDigest: string;
  readonly usages: readonly string[];
}

export interface Judged {
  /** As in `deny WeakKey`. */
  readonly decision: string;
  /** Undefined unless approved. */
  readonly facts: ApprovedFacts | undefined;
}

/** Decides about the candidate as if its Node existed with its name and address. */
export function judged({ owner, request, usages }: Candidate): Judged {
  const csr = servingCsr(request, { username: `system:node:${owner.node}`, usages });
  const found = node({ name: owner.node, addresses: addressesOf(owner) });
  const facts = { ...factsOf({ nodes: [found] }), freshNode: { node: found } };
  const input: QuestionInput = { csr, facts, policy: policy(), now: afterGrace };
  const { outcome, code } = evaluate(input);
  return {
    decision: `${outcome} ${code}`,
    facts: outcome === 'approve' ? factsIn(new Question(input)) : undefined,
  };
}

export function addressesOf({ node, address }: Owner) {
  return [
    { type: 'Hostname', address: node },
    { type: 'InternalIP', address },
  ];
}

function factsIn({ request, altNames, csr }: Question): ApprovedFacts {
  const textsOf = (kind: AltName['kind']): string[] =>
    altNames.filter((name) => name.kind === kind).map(formatAltName);
  return {
    subject: request.subject.map(({ oid, value }) => [oid, Buffer.from(value).toString('utf8')]),
    dns: textsOf('dns'),
    ips: textsOf('ip'),
    keyDigest: request.keyDigest,
    usages: csr.usages,
  };
}

/** The difference between the facts and what Go reads in the request; undefined if there is none. */
export function requestDifference(facts: ApprovedFacts, found: GoReading): string | undefined {
  const { subject, dns, ips, keyDigest } = facts;
  return difference(
    { subject, dns, ips, keyDigest, others: 0, extensions: [subjectAltName] },
    pick(found, ['subject', 'dns', 'ips', 'keyDigest', 'others', 'extensions']),
  );
}

/** The difference between the facts and the certificate; undefined if there is none. */
export function certificateDifference(facts: ApprovedFacts, found: GoReading): string | undefined {
  const { subject, dns, ips, keyDigest, usages } = facts;
  const expected = {
    // The signer writes the attributes in an order of its own.
    subject: sorted(subject),
    dns,
    ips,
    keyDigest,
    others: 0,
    keyUsage: digitalSignature + (usages.includes('key encipherment') ? keyEncipherment : 0),
    extKeyUsage: [serverAuth],
    isCA: false,
    extensions: issuedExtensions,
  };
  return difference(expected, {
    ...pick(found, ['dns', 'ips', 'keyDigest', 'others', 'keyUsage', 'extKeyUsage', 'isCA']),
    subject: sorted(found.subject),
    extensions: found.extensions.toSorted(),
  });
}

const subjectAltName = '2.5.29.17';
/** Key usage, SANs, basic constraints, authority key identifier, extended key usage. */
const issuedExtensions = ['2.5.29.15', subjectAltName, '2.5.29.19', '2.5.29.35', '2.5.29.37'];
/** Of crypto/x509. */
const [digitalSignature, keyEncipherment, serverAuth] = [1, 4, 1];

function sorted(subject: GoReading['subject']): string[] {
  return subject.map((attribute) => attribute.join('=')).toSorted();
}

function pick<K extends keyof GoReading>(found: GoReading, keys: readonly K[]): Pick<GoReading, K> {
  return Object.fromEntries(keys.map((key) => [key, found[key]])) as Pick<GoReading, K>;
}

function difference(
  expected: Readonly<Record<string, unknown>>,
  found: Readonly<Record<string, unknown>>,
): string | undefined {
  const different = Object.keys(expected).filter(
    (key) => !isDeepStrictEqual(expected[key], found[key]),
  );
  const shown = different.map(
    (key) =>
      `${key} is ${JSON.stringify(found[key])}, approved was ${JSON.stringify(expected[key])}`,
  );
  return shown.length === 0 ? undefined : shown.join('; ');
}
