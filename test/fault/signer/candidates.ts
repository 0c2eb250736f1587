import { constants, generateKeyPairSync } from 'node:crypto';
import { writeOid } from '../../../src/core/certificate-parts.ts';
import { derTags, writeDer } from '../../../src/core/der.ts';
import type { Algorithm, KeyPair, RequestParts } from '../../approver/requests.ts';
import {
  dns,
  ecdsaSha256,
  ip,
  nodeSubject,
  pemOf,
  requestDer,
  rsaAlgorithm,
  sequence,
} from '../../approver/requests.ts';
import { changedRequest, pickChanges } from '../fuzz/csr-change.ts';
import { derMutators } from '../fuzz/der.ts';
import { mutated } from '../fuzz/mutate.ts';
import type { Random } from '../fuzz/random.ts';
import type { Owner } from '../fuzz/request-changes.ts';
import { derChanges, pemChanges } from '../fuzz/encoding-changes.ts';
import { contentChanges } from '../fuzz/request-changes.ts';

/** A request of a node, valid or close to it, with the usages of its CSR. */
export interface Candidate {
  readonly owner: Owner;
  readonly request: Uint8Array;
  readonly usages: readonly string[];
}

/** A key with the algorithms that it can sign with; the first one is what kubelets use. */
interface Signing {
  readonly keys: KeyPair;
  readonly algorithms: readonly Algorithm[];
}

function ecdsa(last: number, hash: string): Algorithm {
  return { encoded: sequence(writeOid(`1.2.840.10045.4.3.${last}`)), hash };
}

const ecdsaAlgorithms: readonly Algorithm[] = [
  ecdsaSha256,
  ecdsa(3, 'sha384'),
  ecdsa(4, 'sha512'),
  ecdsa(1, 'sha224'),
  { encoded: sequence(writeOid('1.2.840.10045.4.1')), hash: 'sha1' },
  { ...ecdsaSha256, encoded: sequence(writeOid('1.2.840.10045.4.3.2'), writeDer(0x05)) },
];

const hashes = [
  { hash: 'sha256', bytes: 32, oid: '2.16.840.1.101.3.4.2.1' },
  { hash: 'sha384', bytes: 48, oid: '2.16.840.1.101.3.4.2.2' },
  { hash: 'sha512', bytes: 64, oid: '2.16.840.1.101.3.4.2.3' },
  { hash: 'sha1', bytes: 20, oid: '1.3.14.3.2.26' },
] as const;

/** RSASSA-PSS (RFC 4055) with this salt; the signer accepts one as long as the hash. */
function pss({ hash, oid }: (typeof hashes)[number], saltLength: number): Algorithm {
  const digest = sequence(writeOid(oid), writeDer(0x05));
  const parameters = sequence(
    writeDer(0xa0, digest),
    writeDer(0xa1, sequence(writeOid('1.2.840.113549.1.1.8'), digest)),
    writeDer(0xa2, writeDer(derTags.integer, Uint8Array.of(saltLength))),
  );
  return {
    encoded: sequence(writeOid('1.2.840.113549.1.1.10'), parameters),
    hash,
    options: { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength },
  };
}

const pkcs1Algorithms: readonly Algorithm[] = [
  rsaAlgorithm(11, 'sha256'),
  rsaAlgorithm(12, 'sha384'),
  rsaAlgorithm(13, 'sha512'),
  rsaAlgorithm(5, 'sha1'),
  rsaAlgorithm(4, 'md5'),
  { encoded: sequence(writeOid('1.2.840.113549.1.1.11')), hash: 'sha256' },
];

const pssAlgorithms: readonly Algorithm[] = [
  ...hashes.map((hash) => pss(hash, hash.bytes)),
  pss(hashes[0], 20),
];

const rsaAlgorithms = [...pkcs1Algorithms, ...pssAlgorithms];

const edAlgorithms: readonly Algorithm[] = [
  { encoded: sequence(writeOid('1.3.101.112')), hash: null },
  { encoded: sequence(writeOid('1.3.101.112'), writeDer(0x05)), hash: null },
];

function ec(namedCurve: string): Signing {
  return { keys: generateKeyPairSync('ec', { namedCurve }), algorithms: ecdsaAlgorithms };
}

function rsa(modulusLength: number, publicExponent = 65_537): Signing {
  const keys = generateKeyPairSync('rsa', { modulusLength, publicExponent });
  return { keys, algorithms: rsaAlgorithms };
}

/** Keys that no CSR may have; the nodes share them. */
function weakKeys(): readonly Signing[] {
  return [
    ec('P-224'),
    ec('secp256k1'),
    // Too short for RSASSA-PSS with SHA-512.
    { ...rsa(1024), algorithms: pkcs1Algorithms },
    rsa(2047),
    rsa(2048, 3),
    {
      keys: generateKeyPairSync('rsa-pss', { modulusLength: 2048 }),
      algorithms: pssAlgorithms,
    },
    {
      keys: generateKeyPairSync('ed448'),
      algorithms: [{ encoded: sequence(writeOid('1.3.101.113')), hash: null }],
    },
  ];
}

/** Each node has keys of its own, because the policy refuses a key of another node. */
function strongKeys(lane: number): readonly Signing[] {
  return [
    ec('P-256'),
    ec('P-384'),
    ec('P-521'),
    rsa(lane % 2 === 0 ? 2048 : 3072),
    { keys: generateKeyPairSync('ed25519'), algorithms: edAlgorithms },
  ];
}

const [signature, serving] = ['digital signature', 'server auth'];
const usageLists: readonly (readonly string[])[] = [
  [signature, serving],
  [signature, serving],
  [signature, 'key encipherment', serving],
  [serving, 'key encipherment', signature],
  [signature, serving, 'client auth'],
  [signature, serving, 'key agreement'],
  [signature],
  [serving],
  [signature, 'key encipherment'],
  [],
];

const pemWords = ['-----BEGIN CERTIFICATE REQUEST-----\n', '\n-----END CERTIFICATE REQUEST-----'];

/** Makes candidates for these nodes. The keys are new, so a seed repeats only the changes. */
export function candidatesFor(
  owners: readonly Owner[],
): (random: Random, index: number) => Candidate {
  const weak = weakKeys();
  const lanes = owners.map((owner, lane) => ({
    owner,
    strong: strongKeys(lane),
    changes: [contentChanges(owner), contentChanges(owner), pemChanges, derChanges],
  }));
  return (random, index) => {
    const lane = lanes[index % lanes.length];
    if (lane === undefined) throw new RangeError('there are no nodes');
    const { owner, strong, changes } = lane;
    const { keys, algorithms } = random.pick(random.chance(0.1) ? weak : strong);
    const algorithm = random.pick(random.chance(0.7) ? algorithms.slice(0, 1) : algorithms);
    const parts: RequestParts = {
      keys,
      algorithm,
      subject: nodeSubject(`system:node:${owner.node}`),
      altNames: [dns(owner.node), ip(owner.address)],
    };
    const usages = random.chance(0.8)
      ? random.pick(usageLists.slice(0, 4))
      : random.pick(usageLists);
    return { owner, request: requestOf(parts, changes, random), usages };
  };
}

/** Known changes, random ones of the signed bytes, or random ones that are signed. */
function requestOf(
  parts: RequestParts,
  changes: Parameters<typeof pickChanges>[0],
  random: Random,
): Uint8Array {
  switch (random.below(8)) {
    case 0:
      return pemOf(mutated({ seeds: [requestDer(parts)], own: derMutators }, random));
    case 1:
      return mutated({ seeds: [pemOf(requestDer(parts))], words: pemWords }, random);
    case 2: {
      const change = (info: Uint8Array): Uint8Array =>
        mutated({ seeds: [info], own: derMutators }, random);
      return pemOf(requestDer({ ...parts, change }));
    }
    default:
      return changedRequest(parts, pickChanges(changes, 2, random), random);
  }
}
