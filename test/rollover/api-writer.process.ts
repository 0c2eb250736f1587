import { readFileSync } from 'node:fs';
import { request } from 'node:https';
import { setTimeout as delay } from 'node:timers/promises';

/**
 * Creates ConfigMaps through each API server, five a second, each over a new connection. On SIGTERM
 * prints the names of those that were acknowledged, and the longest time in which no API server
 * acknowledged one.
 *
 * Arguments: a JSON file with the CA, certificate and key of a client, the name to verify, and the
 * addresses of the API servers.
 */
interface Client {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

const [clientFile = '', servername = '', ...addresses] = process.argv.slice(2);
const client = JSON.parse(readFileSync(clientFile, 'utf8')) as Client;
const acknowledged: string[] = [];
let failed = 0;
let last = Date.now();
let longestGapMs = 0;

async function write(address: string, name: string): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<number>();
  const sent = request({
    ...client,
    host: address,
    port: 6443,
    method: 'POST',
    path: '/api/v1/namespaces/default/configmaps',
    servername,
    headers: { host: servername, 'content-type': 'application/json' },
    agent: false,
    timeout: 10_000,
  });
  sent.once('timeout', () => sent.destroy(new Error('timeout')));
  sent.once('error', () => resolve(0));
  sent.once('response', (response) => {
    response.resume();
    resolve(response.statusCode ?? 0);
  });
  sent.end(JSON.stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name } }));
  if ((await promise) !== 201) {
    failed += 1;
    return;
  }
  acknowledged.push(name);
  const now = Date.now();
  longestGapMs = Math.max(longestGapMs, now - last);
  last = now;
}

async function keepWriting(address: string): Promise<never> {
  for (let count = 0; ; count += 1) {
    await write(address, `written-${process.pid}-${address.replaceAll('.', '-')}-${count}`);
    await delay(200);
  }
}

for (const address of addresses) void keepWriting(address);
process.once('SIGTERM', () => {
  process.stdout.write(JSON.stringify({ acknowledged, failed, longestGapMs }), () => {
    process.exit(0);
  });
});
