import type { Check, UsedFact } from './check.ts';
import { compareAge } from '../csr-order.ts';
import type { DecisionCode } from '../decision.ts';
import type { CsrReference } from '../facts.ts';
import type { Question } from './question.ts';
import { deny } from './question.ts';
import type { ReadingCheck } from '../request/read-request.ts';
import { formatKey, weaknessOf } from '../request/key.ts';

const newRequest = 'Have the node create another CSR: restart its kubelet';

export const requestChecks: readonly Check[] = [
  readingCheck('2.1', 'RequestMalformed', {
    passesIf: 'the request is one CERTIFICATE REQUEST block of at most 64 KiB in canonical base64',
  }),
  readingCheck('2.2', 'RequestMalformed', {
    passesIf: 'the request is strict DER, of version 0, without attributes except extensionRequest',
  }),
  readingCheck('2.3', 'UnexpectedExtension', {
    passesIf: 'one subjectAltName is the only extension',
  }),
  {
    id: '2.4',
    codes: ['SignatureInvalid'],
    passesIf: 'the key of the request signed it with SHA-256 or better, or Ed25519',
    judge: ({ request }) =>
      request.signatureProblem === undefined
        ? undefined
        : deny('SignatureInvalid', request.signatureProblem, newRequest),
  },
  {
    id: '2.5',
    codes: ['WeakKey'],
    passesIf: 'the key is ECDSA P-256, P-384 or P-521, Ed25519, or RSA with 2048 to 8192 bits',
    judge: ({ request }) => {
      const weakness = weaknessOf(request.key);
      if (weakness === undefined) return undefined;
      const remedy = 'Configure a stronger key on the node, such as ECDSA P-256';
      return deny('WeakKey', weakness, remedy);
    },
    facts: ({ request }) => [{ fact: 'key', value: formatKey(request.key), source: 'CSR' }],
  },
  {
    id: '2.6',
    codes: ['KeyReused'],
    passesIf: 'no earlier CSR of another node has this key',
    judge: ({ csr, facts, request, nodeName }) => {
      const first = oldestOf([...facts.csrs.keyUses(request.keyDigest)]);
      // A node can send a copy of another node's CSR, so only the first CSR with a key counts.
      if (first === undefined || first.node === nodeName || compareAge(first, csr) >= 0) {
        return undefined;
      }
      return deny(
        'KeyReused',
        `CSR ${first.name} of node ${first.node} has the same key`,
        'Find out why two nodes share a key; a cloned disk image is a usual cause',
      );
    },
    facts: ({ request }) => [
      { fact: 'SHA-256 of the key', value: request.keyDigest, source: 'CSR' },
    ],
  },
];

function oldestOf(uses: readonly CsrReference[]): CsrReference | undefined {
  return uses.toSorted(compareAge)[0];
}

function readingCheck(
  id: ReadingCheck,
  code: DecisionCode,
  { passesIf }: Pick<Check, 'passesIf'>,
): Check {
  return {
    id,
    codes: [code],
    passesIf,
    judge: ({ reading }) =>
      reading.kind === 'rejected' && reading.check === id
        ? deny(code, reading.message, newRequest)
        : undefined,
    ...(id === '2.1' && { facts: requestSize }),
  };
}

function requestSize({ csr }: Question): readonly UsedFact[] {
  return [{ fact: 'request', value: `${csr.request.length} bytes`, source: 'CSR' }];
}
