import { request } from 'node:https';
import { readFileSync } from 'node:fs';

/**
 * Requests a path of API servers five times a second, each time over a new connection. Prints
 * one JSON line for each request that failed, and the number of all requests on SIGTERM.
 *
 * Arguments: the path, the file of the CA, the timeout in milliseconds, and for each server its address and
 * the name to verify, as in `10.99.0.11/api.cluster.test`; without a name, the address counts.
 */
const [path = '', caFile = '', timeout = '', ...targets] = process.argv.slice(2);
const ca = readFileSync(caFile);
let requests = 0;

function probe(target: string): void {
  const [address = '', name] = target.split('/');
  const at = new Date().toISOString();
  const report = (error: string): void => {
    process.stdout.write(`${JSON.stringify({ target, at, error })}\n`);
  };
  requests += 1;
  const sent = request({
    host: address,
    port: 6443,
    path,
    ca,
    agent: false,
    timeout: Number(timeout),
    ...(name !== undefined && { servername: name, headers: { host: name } }),
  });
  sent.once('timeout', () => sent.destroy(new Error('no answer in time')));
  sent.once('error', (error) => {
    report(error.message);
  });
  sent.once('response', (response) => {
    response.resume();
    if (response.statusCode !== 200) report(`status ${response.statusCode}`);
  });
  sent.end();
}

setInterval(() => {
  for (const target of targets) probe(target);
}, 200);

process.once('SIGTERM', () => {
  process.stdout.write(`${JSON.stringify({ requests })}\n`);
  process.exit(0);
});
