import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { createServer } from 'node:tls';
import { AgentError } from '../../../src/core/errors.ts';
import { CsrClient } from '../../../src/kube/csr-client.ts';
import { listCsrs } from '../../../src/kube/csr-list.ts';
import { csrSchema } from '../../../src/kube/csr-object.ts';
import { loadKubeconfig } from '../../../src/kube/kubeconfig.ts';
import { KubeClient } from '../../../src/kube/rest-client.ts';
import { watch } from '../../../src/kube/watch.ts';
import { systemClock } from '../../../src/sys/clock.ts';
import { kubeconfigText } from '../../kube/support/api-server.ts';
import { chunksOf } from './api-targets.ts';
import type { Corpus } from './corpus.ts';
import { mutated } from './mutate.ts';
import type { Random } from './random.ts';
import type { FuzzTarget, Subject } from './target.ts';
import { csrObjects, statusObjects, watches } from './api-texts.ts';

/** Small, so that some responses exceed it. */
const bodyBytes = 24 * 1024;
/** How long to wait for a silent server. */
const requestMs = 150;
const collection = '/apis/certificates.k8s.io/v1/certificatesigningrequests';

const http: FuzzTarget = {
  name: 'http',
  module: import.meta.url,
  fault: 'damaged HTTP answers over TLS: status lines, headers, bodies, watches',
  inputs: 6_000,
  generator: (corpus) => {
    const seeds = answers(corpus);
    return (random) => mutated({ seeds, words, own: [damagedHead] }, random);
  },
  open: openServer,
};

const words = [
  'HTTP/1.1 200 OK\r\n',
  'HTTP/1.1 100 Continue\r\n\r\n',
  'HTTP/1.1 101 Switching Protocols\r\n',
  'HTTP/2.0 200\r\n',
  'HTTP/1.0 429 ',
  'HTTP/1.1 302 Found\r\nlocation: https://127.0.0.1:1/\r\n',
  'transfer-encoding: chunked\r\n',
  'transfer-encoding: gzip, chunked\r\n',
  'content-length: 5\r\n',
  'content-length: -1\r\n',
  'content-length: 99999999999999999999\r\n',
  'content-encoding: gzip\r\n',
  'connection: close\r\n',
  'connection: upgrade\r\nupgrade: h2c\r\n',
  'trailer: x\r\n',
  ' folded\r\n',
  'retry-after: 1e9\r\n',
  'retry-after: Fri, 31 Dec 9999 23:59:59 GMT\r\n',
  'date: \0\r\n',
  '\r\n\r\n',
  '\r\n',
  '\n',
  '0\r\n\r\n',
  'ffffffffffffffff\r\n',
  '7;ext="\r\n',
  'x: '.repeat(8_000),
  'x: y\r\n'.repeat(5_000),
];

/** Damages only the header, because most damage would otherwise be in the body. */
function damagedHead(answer: Uint8Array, random: Random): Uint8Array {
  const end = Buffer.from(answer).indexOf('\r\n\r\n') + 4;
  const head = mutated({ seeds: [answer.subarray(0, end)], words }, random);
  return Buffer.concat([head, answer.subarray(end)]);
}

/** Complete HTTP responses: with a length, chunked, or until the end of the connection. */
function answers(corpus: Corpus): Uint8Array[] {
  const objects = csrObjects(corpus);
  const items = objects.map(text).join(',');
  const bodies = [
    ...objects.map(text),
    ...watches(corpus).map(text),
    `{"kind":"CertificateSigningRequestList","metadata":{},"items":[${items}]}`,
    'no JSON',
    '<html>',
  ];
  const errors = statusObjects().map((object) => {
    const { code } = JSON.parse(text(object)) as { code: number };
    return (
      head(`${code} Error`, `retry-after: 3\r\ncontent-length: ${object.length}\r\n`) + text(object)
    );
  });
  return [
    ...bodies.map(
      (body) => head('200 OK', `content-length: ${Buffer.byteLength(body)}\r\n`) + body,
    ),
    ...bodies.map((body) => head('200 OK', 'transfer-encoding: chunked\r\n') + chunked(body)),
    ...bodies.map((body) => head('201 Created', 'connection: close\r\n') + body),
    ...errors,
  ].map((answer) => Buffer.from(answer));
}

function head(status: string, rest: string): string {
  const common = 'content-type: application/json\r\ndate: Thu, 01 Jan 2026 00:00:00 GMT\r\n';
  return `HTTP/1.1 ${status}\r\n${common}${rest}\r\n`;
}

function text(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString();
}

function chunked(body: string): string {
  return `${Buffer.byteLength(body).toString(16)}\r\n${body}\r\n0\r\n\r\n`;
}

/** A server that answers every request with the input, and the agent's client. */
async function openServer({
  corpus,
  directory,
}: {
  readonly corpus: Corpus;
  readonly directory: string;
}): Promise<Subject> {
  let answer: Uint8Array = Buffer.alloc(0);
  const server = createServer(corpus.server, (socket) => {
    serve(socket, () => answer);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const client = await clientTo((server.address() as AddressInfo).port, { corpus, directory });
  return {
    feed: async (input) => {
      answer = input;
      return ask(client, input);
    },
    close: async () => {
      await client.close();
      server.close();
    },
  };
}

/**
 * Sends the response in pieces and usually closes the connection, so that a wrong
 * length does not delay the run.
 */
function serve(socket: TLSSocket, answerNow: () => Uint8Array): void {
  let asked = '';
  socket.on('error', () => socket.destroy());
  socket.on('data', (chunk) => {
    asked += chunk.toString('latin1');
    if (!/\r\n\r\n(?:\{.*\})?$/s.test(asked)) return;
    asked = '';
    const answer = answerNow();
    for (const piece of chunksOf(answer)) socket.write(piece);
    const [choice = 0] = createHash('sha256').update(answer).digest();
    if (choice < 10) return;
    if (choice < 40) socket.destroy();
    else socket.end();
  });
}

async function clientTo(
  port: number,
  { corpus, directory }: { readonly corpus: Corpus; readonly directory: string },
): Promise<KubeClient> {
  const path = join(directory, 'kubeconfig');
  const authority = Buffer.from(corpus.authority).toString('base64');
  const cluster = { server: `https://127.0.0.1:${port}`, 'certificate-authority-data': authority };
  writeFileSync(path, kubeconfigText({ cluster, user: { token: corpus.token } }));
  return KubeClient.open({
    access: await loadKubeconfig(path),
    version: '1',
    clock: systemClock,
    limits: { connectMs: 5_000, requestMs, bodyBytes },
  });
}

/** Makes one kind of the agent's requests, which the input selects. */
async function ask(client: KubeClient, input: Uint8Array): Promise<string> {
  const { signal } = new AbortController();
  const [, choice = 0] = createHash('sha256').update(input).digest();
  if (choice % 8 === 7) {
    const { csrs } = await listCsrs(client, () => true, signal);
    return csrs.length > 0 ? 'listed' : 'none listed';
  }
  if (choice % 3 === 0) {
    await client.request({ verb: 'get', path: `${collection}/a`, signal }, csrSchema);
    return 'ok';
  }
  if (choice % 3 === 1) {
    const csrs = new CsrClient({ client: () => client, clock: systemClock, random: () => 0 });
    const usages = ['client auth'] as const;
    await csrs.create(
      { name: 'a', request: input.subarray(0, 99), signerName: 'a.b/c', usages },
      signal,
    );
    return 'ok';
  }
  return follow(client, signal);
}

/** A watch ends half a minute after its timeout. Here the signal ends it. */
async function follow(client: KubeClient, signal: AbortSignal): Promise<string> {
  const enough = AbortSignal.any([signal, AbortSignal.timeout(requestMs)]);
  const timeoutSeconds = 300;
  const request = { path: collection, resourceVersion: '1', timeoutSeconds };
  try {
    for await (const event of watch(client, { ...request, schema: csrSchema, signal: enough })) {
      if (event.type === 'ADDED') break;
    }
    return 'watched';
  } catch (error) {
    if (error instanceof AgentError && error.code === 'ABORTED') return 'watched without end';
    throw error;
  }
}

export const targets: readonly FuzzTarget[] = [http];
