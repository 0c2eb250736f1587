import type { ServerResponse } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import type { Exchange } from '../../support/fault-proxy.ts';
import { headersOf } from '../../support/fault-proxy.ts';

/** The fields of a CSR that faults change. */
export interface CsrJson {
  readonly metadata: { readonly name: string };
  readonly spec: { readonly request: string; readonly signerName: string };
  readonly status?: { readonly conditions?: readonly unknown[]; readonly certificate?: string };
}

export type Rewrite = (csr: CsrJson) => Promise<object> | object;

interface StatusAnswer {
  readonly code: number;
  readonly reason: string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Answers with a Status, as the API server does. */
export function answerStatus(
  { response, body }: Exchange,
  { code, reason, headers = {} }: StatusAnswer,
): void {
  response.writeHead(code, { 'content-type': 'application/json', ...headers });
  response.end(JSON.stringify(statusObject(code, reason, `${body.length} bytes`)));
}

export function statusObject(code: number, reason: string, message: string): object {
  return { kind: 'Status', apiVersion: 'v1', status: 'Failure', reason, message, code };
}

/** Reads the server's response without sending it to the client. */
export async function swallow(exchange: Exchange): Promise<Buffer> {
  const { body } = await exchange.pass();
  return Buffer.from(await body.arrayBuffer());
}

/** Forwards the request and changes the response. */
export async function answerBytes(
  exchange: Exchange,
  change: (body: Buffer) => Buffer,
): Promise<void> {
  const body = change(await wholeAnswer(exchange));
  exchange.response.writeHead(200, { 'content-type': 'application/json' });
  exchange.response.end(body);
}

/** Sends half of the response, then resets the connection. */
export async function breakOff(exchange: Exchange): Promise<void> {
  const { response } = exchange;
  const body = await wholeAnswer(exchange);
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': body.length });
  response.write(body.subarray(0, body.length / 2));
  await delay(50);
  response.socket?.resetAndDestroy();
}

/** Sends one byte at a time until the client disconnects. */
export async function trickle({ response, closed }: Exchange): Promise<void> {
  response.writeHead(200, { 'content-type': 'application/json' });
  const ended = closed.then(() => true);
  do response.write(' ');
  while (!(await Promise.race([ended, delay(50, false)])));
}

/** Sends up to this number of bytes. Returns when the client disconnects. */
export async function flood({ response, closed }: Exchange, bytes: number): Promise<void> {
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': bytes });
  const chunk = Buffer.alloc(1024 * 1024, '[');
  const gone = closed.then(() => false);
  for (let left = bytes; left > 0; left -= chunk.length) {
    if (
      !response.write(chunk.subarray(0, left)) &&
      !(await Promise.race([drained(response), gone]))
    )
      return;
  }
  response.end();
}

async function drained(response: ServerResponse): Promise<boolean> {
  return new Promise((resolve) => response.once('drain', () => resolve(true)));
}

/** Applies `rewrite` to objects and events. Sends each event `repeat` times. */
export async function relayRewritten(
  exchange: Exchange,
  rewrite: Rewrite,
  repeat = 1,
): Promise<void> {
  const { response, verb } = exchange;
  const answer = await exchange.pass();
  if (answer.statusCode >= 300 || verb !== 'watch') {
    const text = await answer.body.text();
    const object = answer.statusCode >= 300 ? text : await rewritten(text, rewrite);
    response.writeHead(answer.statusCode, headersOf(answer));
    return void response.end(object);
  }
  response.writeHead(200, headersOf(answer));
  response.flushHeaders();
  let rest = '';
  for await (const chunk of answer.body.setEncoding('utf8')) {
    const lines = (rest + String(chunk)).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      const event = `${await rewrittenEvent(line, rewrite)}\n`;
      for (let count = 0; count < repeat; count += 1) response.write(event);
    }
  }
  response.end();
}

async function rewritten(text: string, rewrite: Rewrite): Promise<string> {
  return JSON.stringify(await rewrite(JSON.parse(text) as CsrJson));
}

async function rewrittenEvent(line: string, rewrite: Rewrite): Promise<string> {
  const event = JSON.parse(line) as { readonly type: string; readonly object: CsrJson };
  if (!['ADDED', 'MODIFIED', 'DELETED'].includes(event.type)) return line;
  return JSON.stringify({ ...event, object: await rewrite(event.object) });
}

/** The CSR as if it were pending. */
export function asPending(csr: CsrJson): object {
  return { ...csr, status: {} };
}

/** The CSR as if it were approved, but without a certificate. */
export function asUnissued(csr: CsrJson): object {
  const { certificate: _, ...status } = csr.status ?? {};
  return { ...csr, status };
}

/** Answers a watch with the present state of the object. */
async function wholeAnswer(exchange: Exchange): Promise<Buffer> {
  if (exchange.verb !== 'watch') return swallow(exchange);
  const answer = await exchange.pass();
  for await (const chunk of answer.body) return Buffer.from(chunk as Uint8Array);
  return Buffer.from('{"type":"BOOKMARK"}\n');
}
