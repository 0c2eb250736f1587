import { createPrivateKey, createPublicKey } from 'node:crypto';
import { explain } from '../../../src/approver/explanation.ts';
import { NodeIndex } from '../../../src/approver/node-index.ts';
import { nodeSnapshotSchema } from '../../../src/approver/node-snapshot.ts';
import { servingCsrSchema } from '../../../src/approver/serving-csr.ts';
import type { ServingCsr } from '../../../src/approver/serving-csr.ts';
import { machineSchema } from '../../../src/approver/sources/machine-source.ts';
import { parseApproverPolicy } from '../../../src/config/approver-policy.ts';
import { parseNodeInventory } from '../../../src/config/node-inventory.ts';
import { objectsIn, parseFoundObject } from '../../../src/cli/object-files.ts';
import { clusterObjects } from '../../../src/approver/cluster-objects.ts';
import { writeOid } from '../../../src/core/certificate-parts.ts';
import { parsePem } from '../../../src/core/pem.ts';
import { parseCertificateRequest } from '../../../src/core/x509.ts';
import { parseResponse } from '../../../src/kube/rest-client.ts';
import { afterGrace, createdAt, factsOf, n1Addresses, policy } from '../../approver/cluster.ts';
import type { KeyPair, RequestParts } from '../../approver/requests.ts';
import {
  dns,
  ip,
  nodeSubject,
  oids,
  pemOf,
  requestDer,
  sequence,
} from '../../approver/requests.ts';
import { csrObject, nodeObject } from '../../cli/approver-objects.ts';
import type { Corpus } from './corpus.ts';
import { derMutators } from './der.ts';
import { jsonMutators } from './json.ts';
import { mutated } from './mutate.ts';
import type { Random } from './random.ts';
import type { FuzzTarget } from './target.ts';
import { requireThat } from './target.ts';

/** Ed25519, because its signatures have no random part: the same seed makes the same input. */
function keysOf({ keys }: Corpus): KeyPair {
  for (const { label, der } of keys) {
    if (label !== 'PRIVATE KEY') continue;
    const privateKey = createPrivateKey({ key: Buffer.from(der), format: 'der', type: 'pkcs8' });
    if (privateKey.asymmetricKeyType === 'ed25519') {
      return { privateKey, publicKey: createPublicKey(privateKey) };
    }
  }
  throw new Error('the corpus has no Ed25519 key');
}

const algorithm = { encoded: sequence(writeOid('1.3.101.112')), hash: null };
const hostNames = ['n1', 'n10', 'kubernetes.default.svc', '*.n1', '10.100.0.2', 'N1.'];

/** One request that passes, and others that are close to it. */
const requests: readonly RequestParts[] = [
  {},
  ...hostNames.map((name) => ({ altNames: [dns(name), ip('fd00::2')] })),
  { subject: nodeSubject('system:node:n2') },
  { subject: [...nodeSubject('system:node:n1'), [{ oid: oids.unit, value: 'x' }]] },
  { altNames: [ip('10.100.0.1'), ip('127.0.0.1')] },
  { attributes: [] },
];

const words = [
  '-----BEGIN CERTIFICATE REQUEST-----\n',
  '\n-----END CERTIFICATE REQUEST-----',
  '-----BEGIN NEW CERTIFICATE REQUEST-----\n',
  'Proc-Type: 4,ENCRYPTED\n\n',
  '\r\n',
  '=',
];

function withRequest(pem: Uint8Array): Buffer {
  const object = csrObject({});
  const request = Buffer.from(pem).toString('base64');
  return Buffer.from(JSON.stringify({ ...object, spec: { ...object.spec, request } }));
}

/** Changes the object, the PEM text, or the signed part, which is then signed again. */
function damagedCsr(corpus: Corpus): (random: Random) => Uint8Array {
  const keys = keysOf(corpus);
  const ders = requests.map((parts) => requestDer({ ...parts, keys, algorithm }));
  const pems = ders.map(pemOf);
  const objects = pems.map(withRequest);
  return (random) => {
    switch (random.below(4)) {
      case 0:
        return mutated({ seeds: objects, own: jsonMutators }, random);
      case 1:
        return withRequest(mutated({ seeds: pems, words }, random));
      case 2:
        return withRequest(pemOf(mutated({ seeds: ders, own: derMutators }, random)));
      default: {
        const change = (info: Uint8Array): Uint8Array =>
          mutated({ seeds: [info], own: derMutators }, random);
        const parts = random.pick(requests);
        return withRequest(pemOf(requestDer({ ...parts, keys, algorithm, change })));
      }
    }
  };
}

const csr: FuzzTarget = {
  name: 'serving CSR',
  module: import.meta.url,
  fault: 'damaged serving CSRs to decide',
  inputs: 1_000_000,
  generator: damagedCsr,
  open: () => {
    const facts = factsOf({ nodes: [] });
    const nodes = new NodeIndex();
    const node = parseResponse(nodeSnapshotSchema, nodeObject(), 'the Node');
    nodes.put(node, createdAt);
    const fixed = { ...facts, nodes, freshNode: { node } };
    return {
      feed: async (input) => {
        const csr = parseResponse(servingCsrSchema, jsonOf(input), 'a CSR');
        const { decision } = explain({ csr, facts: fixed, policy: policy(), now: afterGrace });
        if (decision.outcome === 'approve') await requireHarmless(csr);
        return decision.code;
      },
    };
  },
};

function jsonOf(input: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(input).toString('utf8'));
  } catch {
    // The client of the API rejects it before the schema does.
    return undefined;
  }
}

/** A second parser has to read an approved request as exactly what the node may have. */
async function requireHarmless(csr: ServingCsr): Promise<void> {
  const blocks = parsePem(csr.request);
  requireThat(blocks.length === 1, () => `an approved request has ${blocks.length} blocks`);
  const [block] = blocks;
  const read = await parseCertificateRequest(block?.der ?? new Uint8Array());
  const owned: readonly string[] = n1Addresses.map(({ address }) => address);
  const isHarmless =
    read.signedByItsKey &&
    read.otherNames.length === 0 &&
    read.subject.commonName === 'system:node:n1' &&
    read.subject.organizations.join() === 'system:nodes' &&
    [...read.dnsNames, ...read.ipAddresses].every((name) =>
      owned.includes(name.replace(/\.$/, '')),
    ) &&
    csr.username === 'system:node:n1' &&
    csr.groups.includes('system:nodes') &&
    csr.usages.every((usage) => !/client|cod|any|mail/.test(usage));
  requireThat(isHarmless, () => `an approved request is not harmless: ${JSON.stringify(read)}`);
}

const policyText = [
  'apiVersion: nodecertd.io/v1alpha1',
  'kind: ApproverPolicy',
  'mode: approve-only',
  'allowedCIDRs: [10.0.0.0/8, "fd00::/8"]',
  'allowedDomains: [example.com]',
  'sources: {inventory: {file: a}, machine: {kubeconfig: b}}',
  '',
].join('\n');

const inventoryText = [
  'apiVersion: nodecertd.io/v1alpha1',
  'kind: NodeInventory',
  'nodes: [{name: n1, names: [n1.example.com], addresses: [10.0.0.1, "::1"], cidrs: [10.0.0.0/8]}]',
  '',
].join('\n');

function textTarget(name: string, seed: string, read: (text: string) => unknown): FuzzTarget {
  return {
    name,
    module: import.meta.url,
    fault: `damaged files: ${name}`,
    inputs: 20_000,
    generator: () => (random) => mutated({ seeds: [Buffer.from(seed)], words: yamlWords }, random),
    open: () => ({
      feed: (input) => {
        read(Buffer.from(input).toString('utf8'));
        return 'ok';
      },
    }),
  };
}

const yamlWords = ['---\n', '&a ', '*a', '!!binary ', '? ', '- ', ': ', '{', '[', '::/0', '/33'];

const savedText = `${JSON.stringify({ kind: 'List', items: [nodeObject()] })}\n`;

export const targets: readonly FuzzTarget[] = [
  csr,
  textTarget('approver policy', policyText, (text) => parseApproverPolicy(text, 'policy.yaml')),
  textTarget('node inventory', inventoryText, (text) => parseNodeInventory(text, 'nodes.yaml')),
  textTarget('saved objects', savedText, (text) =>
    clusterObjects(objectsIn(text, 'saved.yaml'), parseFoundObject),
  ),
  {
    name: 'Machine',
    module: import.meta.url,
    fault: 'damaged Machines',
    inputs: 20_000,
    generator: () => {
      const metadata = { name: 'm', namespace: 'default', resourceVersion: '1' };
      const status = { nodeRef: { name: 'n1' }, addresses: n1Addresses };
      const seeds = [Buffer.from(JSON.stringify({ metadata, spec: { providerID: 'x' }, status }))];
      return (random) => mutated({ seeds, own: jsonMutators }, random);
    },
    open: () => ({
      feed: (input) => {
        parseResponse(machineSchema, jsonOf(input), 'a Machine');
        return 'ok';
      },
    }),
  },
];
