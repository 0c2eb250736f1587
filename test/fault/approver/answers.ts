import { setTimeout as delay } from 'node:timers/promises';
import type { Exchange, ProxyFault } from '../../support/fault-proxy.ts';
import { headersOf } from '../../support/fault-proxy.ts';

export function everything(): boolean {
  return true;
}

export function isDecision({ method, path }: Exchange): boolean {
  return method === 'PUT' && path.endsWith('/approval');
}

export function isWatch({ path }: Exchange): boolean {
  return path.includes('watch=true');
}

export function isWatchOf(resource: string): ProxyFault['meets'] {
  return (exchange) => isWatch(exchange) && exchange.path.includes(`/${resource}?`);
}

export function isList({ path }: Exchange): boolean {
  return path.includes('limit=');
}

/** A watch that an API server before 1.34 does not know. */
export function isWatchList({ path }: Exchange): boolean {
  return path.includes('sendInitialEvents');
}

/** Forwards a watch until it has sent a part of its first event, then resets the connection. */
export async function cutWatch(exchange: Exchange): Promise<void> {
  const { response } = exchange;
  const answer = await exchange.pass();
  response.writeHead(answer.statusCode, headersOf(answer));
  response.flushHeaders();
  for await (const chunk of answer.body) {
    const bytes = Buffer.from(chunk as Uint8Array);
    response.write(bytes.subarray(0, bytes.length / 2));
    await delay(20);
    return void response.socket?.resetAndDestroy();
  }
}

/** Accepts a watch and never sends an event. */
export async function silence({ response, closed }: Exchange): Promise<void> {
  response.writeHead(200, { 'content-type': 'application/json' });
  response.flushHeaders();
  await closed;
}

/** Sends other lines than the server in place of each line of a watch. */
export async function relayLines(
  exchange: Exchange,
  change: (line: string) => readonly string[],
): Promise<void> {
  const { response } = exchange;
  const answer = await exchange.pass();
  response.writeHead(answer.statusCode, headersOf(answer));
  response.flushHeaders();
  let rest = '';
  for await (const chunk of answer.body.setEncoding('utf8')) {
    const lines = (rest + String(chunk)).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines.flatMap(change)) response.write(`${line}\n`);
  }
  response.end();
}

/** After each event about a CSR, its first event again, as from an API server that lags behind. */
export function firstEventAgain(): (line: string) => string[] {
  const first = new Map<string, string>();
  return (line) => {
    const { type, object } = JSON.parse(line) as {
      readonly type: string;
      readonly object: { readonly metadata: { readonly name?: string } };
    };
    const { name } = object.metadata;
    if (type === 'BOOKMARK' || name === undefined) return [line];
    const known = first.get(name);
    first.set(name, known ?? line);
    return known === undefined ? [line] : [line, known];
  };
}
