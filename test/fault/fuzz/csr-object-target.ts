import { createPrivateKey, createPublicKey } from 'node:crypto';
import { ClusterView } from '../../../src/approver/cluster-view.ts';
import type { Decision } from '../../../src/approver/decision.ts';
import { evaluate } from '../../../src/approver/evaluate.ts';
import type { WatchedCsr } from '../../../src/approver/watched-csr.ts';
import { keyDigestOf, nodeOf, watchedCsrSchema } from '../../../src/approver/watched-csr.ts';
import { writeOid } from '../../../src/core/certificate-parts.ts';
import { AgentError } from '../../../src/core/errors.ts';
import { hour } from '../../../src/core/instant.ts';
import { parseResponse } from '../../../src/kube/rest-client.ts';
import { afterGrace, createdAt, node, policy } from '../../approver/cluster.ts';
import type { KeyPair, RequestParts } from '../../approver/requests.ts';
import { rsaAlgorithm, sequence } from '../../approver/requests.ts';
import { csrObject } from '../../cli/approver-objects.ts';
import type { Corpus } from './corpus.ts';
import type { Change, CsrJson, Verdict } from './csr-change.ts';
import { changedRequest, pickChanges } from './csr-change.ts';
import { objectChanges } from './object-changes.ts';
import type { Random } from './random.ts';
import { derChanges, pemChanges } from './encoding-changes.ts';
import { contentChanges } from './request-changes.ts';
import type { FuzzTarget } from './target.ts';
import { requireThat } from './target.ts';

interface Expected {
  /** Empty if the CSR has to be approved. */
  readonly verdicts: readonly string[];
  readonly changes: readonly string[];
}

/** The keys whose signatures have no random part: the same seed makes the same input. */
function keysOf({ keys }: Corpus, kind: 'ed25519' | 'rsa'): KeyPair {
  for (const { label, der } of keys) {
    if (label !== 'PRIVATE KEY') continue;
    const privateKey = createPrivateKey({ key: Buffer.from(der), format: 'der', type: 'pkcs8' });
    if (privateKey.asymmetricKeyType === kind) {
      return { privateKey, publicKey: createPublicKey(privateKey) };
    }
  }
  throw new Error(`the corpus has no ${kind} key`);
}

export const ed25519 = { encoded: sequence(writeOid('1.3.101.112')), hash: null };

function key(name: string, verdicts: readonly Verdict[], parts: RequestParts): Change {
  return { part: 'key', name, verdicts, request: () => parts };
}

function keyChanges(corpus: Corpus): readonly Change[] {
  const rsa = keysOf(corpus, 'rsa');
  const keys = keysOf(corpus, 'ed25519');
  const invalid: readonly Verdict[] = ['SignatureInvalid'];
  const publicKey = rsa.publicKey.export({ format: 'der', type: 'spki' });
  return [
    key('a key of another node', ['KeyReused'], {
      keys: rsa,
      algorithm: rsaAlgorithm(11, 'sha256'),
    }),
    key('RSA with SHA-1', invalid, { keys: rsa, algorithm: rsaAlgorithm(5, 'sha1') }),
    key('RSA with another hash', invalid, { keys: rsa, algorithm: rsaAlgorithm(11, 'sha384') }),
    key('the algorithm of another key', invalid, {
      algorithm: { ...rsaAlgorithm(11, ''), hash: null },
    }),
    key('the public key of another pair', invalid, { keys, publicKey }),
    key('a signature of other contents', invalid, {
      keys: { ...keys, privateKey: rsa.privateKey },
      algorithm: { ...ed25519, hash: 'sha256' },
    }),
  ];
}

/** Every change, in groups that are chosen equally often. */
export function csrChanges(corpus: Corpus): readonly (readonly Change[])[] {
  return [
    contentChanges({ node: 'n1', address: '10.100.0.2' }),
    keyChanges(corpus),
    derChanges,
    pemChanges,
    ...objectChanges,
  ];
}

/** The first line of an input has the names and verdicts of its changes, and the rest is the CSR. */
export function csrInput(corpus: Corpus): (changes: readonly Change[], random: Random) => Buffer {
  const original = { keys: keysOf(corpus, 'ed25519'), algorithm: ed25519 };
  return (changes, random) => {
    const pem = changedRequest(original, changes, random);
    const csr = valid();
    csr.spec['request'] = Buffer.from(pem).toString('base64');
    for (const { object } of changes) object?.(csr, random);
    const expected: Expected = {
      verdicts: changes.flatMap(({ verdicts }) => verdicts),
      changes: changes.map(({ part, name }) => `${part}: ${name}`),
    };
    return Buffer.from(`${JSON.stringify(expected)}\n${JSON.stringify(csr)}`);
  };
}

const template = JSON.stringify(csrObject());

function valid(): CsrJson {
  return JSON.parse(template) as CsrJson;
}

/** The cluster in which the CSR without changes is approved. */
function clusterWith(corpus: Corpus): ClusterView {
  const view = new ClusterView('api.example.com');
  view.nodes.put(node(), createdAt);
  view.nodes.put(node({ name: 'n2', addresses: [] }), createdAt);
  view.setServiceCidrs('kubernetes', ['10.96.0.0/16', 'fd00:1::/108']);
  view.setKubernetesService(['10.96.0.1']);
  view.setApiServers('kubernetes', ['10.100.0.1']);
  const keys = keysOf(corpus, 'rsa');
  const earlier = csrOf({ keys, algorithm: rsaAlgorithm(11, 'sha256') });
  const reference = {
    name: 'csr-0',
    node: 'n2',
    createdAt: createdAt - hour,
    resourceVersion: '1',
  };
  view.csrs.put(reference, keyDigestOf(earlier));
  return view;
}

function csrOf(parts: RequestParts): WatchedCsr {
  return parseResponse(watchedCsrSchema, csrObject(parts), 'a CSR');
}

/** Decides as the controller does: with what the watch has sent, then with a fresh Node. */
function decisionAbout(csr: WatchedCsr, view: ClusterView): Decision {
  view.csrs.put({ ...csr, node: nodeOf(csr) ?? '' }, keyDigestOf(csr));
  try {
    const input = { csr, facts: view.facts([]), policy: policy(), now: afterGrace };
    const first = evaluate(input);
    if (first.finding?.needsFreshNode !== true) return first;
    const fresh = { node: view.nodes.get(nodeOf(csr) ?? '') };
    return evaluate({ ...input, facts: view.facts([], fresh) });
  } finally {
    view.csrs.remove(csr.name);
  }
}

function verdictOn(text: string, view: ClusterView): string {
  let csr: WatchedCsr;
  try {
    csr = parseResponse(watchedCsrSchema, JSON.parse(text), 'a CSR');
  } catch (error) {
    if (error instanceof AgentError) return 'malformed';
    throw error;
  }
  return decisionAbout(csr, view).code;
}

export const csrObjectTarget: FuzzTarget = {
  name: 'CSR object',
  module: import.meta.url,
  fault: 'CSR objects with known damage, and valid ones',
  inputs: 1_000_000,
  generator: (corpus) => {
    const groups = csrChanges(corpus);
    const input = csrInput(corpus);
    return (random) => input(pickChanges(groups, 3, random), random);
  },
  open: ({ corpus }) => {
    const view = clusterWith(corpus);
    return {
      feed: (input) => {
        const [line = '', text = ''] = Buffer.from(input)
          .toString()
          .split(/\n(.*)/s);
        const { verdicts, changes } = JSON.parse(line) as Expected;
        const verdict = verdictOn(text, view);
        requireThat(
          verdicts.length === 0 ? verdict === 'ServingPolicyPassed' : verdicts.includes(verdict),
          () => `${verdict} after ${changes.join(', ') || 'no change'}`,
        );
        return verdict;
      },
    };
  },
};

export const targets: readonly FuzzTarget[] = [csrObjectTarget];
