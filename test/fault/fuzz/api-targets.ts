import { altNamesOfNode } from '../../../src/core/identity.ts';
import { formatInstant, hour } from '../../../src/core/instant.ts';
import { parseJson } from '../../../src/kube/body.ts';
import type { CsrObject } from '../../../src/kube/csr-object.ts';
import { csrSchema, verdictOf } from '../../../src/kube/csr-object.ts';
import { nodeSchema } from '../../../src/kube/node-client.ts';
import { parseResponse } from '../../../src/kube/rest-client.ts';
import { statusError } from '../../../src/kube/status-error.ts';
import type { WatchEvent } from '../../../src/kube/watch.ts';
import { watch } from '../../../src/kube/watch.ts';
import { csrArbitrary, nodeArbitrary, sampler, statusArbitrary } from './arbitraries.ts';
import { jsonMutators } from './json.ts';
import { mutated } from './mutate.ts';
import { Random, seedOf } from './random.ts';
import type { FuzzTarget } from './target.ts';
import { requireThat } from './target.ts';
import { csrObjects, nodeObjects, statusObjects, watches } from './api-texts.ts';
import { nowhere } from '../../support/cluster-access.ts';

const jsonWords = [
  'null',
  '{}',
  '[]',
  '"__proto__":',
  '\\u0000',
  '\\ud800',
  '1e999',
  '-',
  '//',
  '{"a":'.repeat(2_000),
];

const csrs: FuzzTarget = {
  name: 'csr',
  module: import.meta.url,
  fault: 'CSR objects that are none',
  inputs: 200_000,
  generator: (corpus) => objects(csrObjects(corpus), sampler(csrArbitrary)),
  open: () => ({ feed: (input) => readCsr(input) }),
};

function readCsr(input: Uint8Array): string {
  const csr = parseResponse(csrSchema, parseJson(Buffer.from(input), 'get /csrs/a'), 'get /csrs/a');
  judgeCsr(csr);
  return verdictOf(csr.status).kind;
}

function judgeCsr({ createdAt, name, uid, resourceVersion, spec }: CsrObject): void {
  formatInstant(createdAt);
  const texts = [name, uid, resourceVersion, spec.signerName];
  requireThat(
    texts.every((text) => typeof text === 'string'),
    () => `not texts: ${texts.join()}`,
  );
  requireThat(
    Object.getPrototypeOf({}).polluted === undefined,
    () => 'Object.prototype is polluted',
  );
}

const nodes: FuzzTarget = {
  name: 'node',
  module: import.meta.url,
  fault: 'Node objects that are none',
  inputs: 100_000,
  generator: () => objects(nodeObjects(), sampler(nodeArbitrary)),
  open: () => ({
    feed: (input) => {
      const what = 'get /api/v1/nodes/a';
      const node = parseResponse(nodeSchema, parseJson(Buffer.from(input), what), what);
      const { dnsNames, ipAddresses } = altNamesOfNode(node.addresses);
      requireThat(
        [...dnsNames, ...ipAddresses].every((name) => name !== ''),
        () => 'an empty name',
      );
      return 'ok';
    },
  }),
};

const statuses: FuzzTarget = {
  name: 'status',
  module: import.meta.url,
  fault: 'Status errors that are none',
  inputs: 100_000,
  generator: () => objects(statusObjects(), sampler(statusArbitrary)),
  open: () => ({ feed: readStatus }),
};

/** Throws the error, so that it is checked like others. */
function readStatus(input: Uint8Array): never {
  const random = new Random(seedOf(input));
  const error = statusError({
    request: 'get /api/v1/nodes/a',
    path: '/api/v1/nodes/a',
    access: nowhere,
    httpStatus: random.pick([
      100, 199, 300, 302, 400, 401, 403, 404, 409, 410, 418, 429, 500, 599, 999,
    ]),
    body: jsonOr(input),
    retryAfter: random.chance(0.5)
      ? Buffer.from(input.subarray(0, 40)).toString('latin1')
      : undefined,
    now: 0,
  });
  const { retryAfterMs = 0 } = error;
  requireThat(retryAfterMs >= 0 && retryAfterMs <= hour, () => `to wait for ${retryAfterMs} ms`);
  throw error;
}

function jsonOr(input: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(input).toString());
  } catch {
    return undefined;
  }
}

const streams: FuzzTarget = {
  name: 'watch',
  module: import.meta.url,
  fault: 'damaged watch streams, cut anywhere',
  inputs: 60_000,
  generator: (corpus) => {
    const seeds = watches(corpus);
    const objects = sampler(csrArbitrary);
    const types = ['ADDED', 'MODIFIED', 'DELETED', 'BOOKMARK', 'ERROR', 'added', '', '__proto__'];
    return (random) => {
      if (random.chance(0.7))
        return mutated({ seeds, words: ['\n', ...types, ...jsonWords] }, random);
      const lines = Array.from({ length: random.below(5) }, () => {
        const object = random.chance(0.5) ? objects(random) : mutatedLine(seeds, random);
        return `{"type":"${random.pick(types)}","object":${Buffer.from(object).toString()}}\n`;
      });
      return Buffer.from(lines.join(''));
    };
  },
  open: () => ({ feed: readWatch }),
};

function mutatedLine(seeds: readonly Uint8Array[], random: Random): Uint8Array {
  return mutated({ seeds: [random.pick(seeds)], own: jsonMutators }, random);
}

/** Events and end must not depend on the sizes of the chunks. */
async function readWatch(input: Uint8Array): Promise<string> {
  const whole = await eventsOf([input]);
  const cut = await eventsOf(chunksOf(input));
  requireThat(
    whole.summary === cut.summary,
    () => `in chunks ${cut.summary}, in one piece ${whole.summary}`,
  );
  if (whole.error !== undefined) throw whole.error;
  return whole.summary === '' ? 'no event' : 'events';
}

async function eventsOf(
  chunks: Iterable<Uint8Array>,
): Promise<{ summary: string; error?: unknown }> {
  const events: WatchEvent<CsrObject>[] = [];
  const client = { access: nowhere, stream: () => asStream(chunks) };
  const request = {
    path: '/csrs',
    fieldSelector: 'metadata.name=a',
    resourceVersion: '1',
    timeoutSeconds: 300,
    schema: csrSchema,
    signal: new AbortController().signal,
  };
  try {
    for await (const event of watch(client, request)) {
      events.push(event);
      if (event.type !== 'BOOKMARK') judgeCsr(event.object);
    }
    return { summary: JSON.stringify(events.map(brief)).slice(2) };
  } catch (error) {
    return { summary: JSON.stringify([events.map(brief), String(error)]), error };
  }
}

function brief(event: WatchEvent<CsrObject>): unknown {
  if (event.type === 'BOOKMARK') return [event.type, event.resourceVersion];
  return [
    event.type,
    event.object.name,
    event.object.resourceVersion,
    verdictOf(event.object.status).kind,
  ];
}

async function* asStream(chunks: Iterable<Uint8Array>): AsyncGenerator<Uint8Array, void, void> {
  yield* chunks;
}

export function* chunksOf(input: Uint8Array): Generator<Uint8Array> {
  const random = new Random(seedOf(input));
  const most = random.pick([1, 2, 7, 100, 4_096]);
  // Only short inputs are sent byte by byte, because many chunks take time.
  const least = Math.ceil(input.length / 2_000);
  for (let at = 0; at < input.length;) {
    const size = Math.max(least, 1 + random.below(most));
    yield input.subarray(at, at + size);
    at += size;
  }
}

/** Damaged text, damaged objects, and random objects. */
function objects(
  seeds: readonly Uint8Array[],
  grown: (random: Random) => Uint8Array,
): (random: Random) => Uint8Array {
  return (random) => {
    if (random.chance(0.15)) return grown(random);
    if (random.chance(0.5)) return mutated({ seeds, words: jsonWords }, random);
    return mutated({ seeds, own: jsonMutators }, random);
  };
}

export const targets: readonly FuzzTarget[] = [csrs, nodes, statuses, streams];
