import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { describeError } from '../../src/core/errors.ts';
import { ApiClient } from '../support/api-client.ts';
import type { KeyPair } from '../support/cluster-pki.ts';
import { submitNodeCsr } from '../support/node-csr.ts';
import type { CsrObject } from '../support/real-csr.ts';
import { csrPath } from '../support/real-csr.ts';
import { statusOfNewConnection } from '../support/single-request.ts';
import type { ClusterClient, ClusterClients } from './cluster-clients.ts';
import { throughBalancer } from './cluster-clients.ts';
import type { Credentials } from './credentials.ts';
import { filesBelow, readCredentials } from './credentials.ts';
import type { FailedProbe, ProbedClient } from './prober.ts';
import { Prober } from './prober.ts';

/**
 * Sends requests for each client, and requests a new client certificate that it then uses at every API
 * server, each every four seconds. On SIGTERM it prints one JSON line for each failure, and then
 * the counts. Argument: the clients as JSON.
 */
const { clients, newClients } = JSON.parse(process.argv[2] ?? '') as ClusterClients;
const interval = 4_000;
/** A leading kube-controller-manager that restarts signs nothing for up to 20 s. */
const patienceMs = 60_000;

const failures: FailedProbe[] = [];
const pending = new Set<Promise<void>>();
let started = 0;
let issued = 0;
let uses = 0;
let longestWaitMs = 0;

function probed({ name, url, serverName, caFile, status, ...files }: ClusterClient): ProbedClient {
  return {
    name,
    status,
    read: async () => {
      const { caPem, pair } = await credentialsOf(files);
      return {
        url,
        pair,
        caPem: caFile === undefined ? caPem : await readFile(caFile, 'utf8'),
        ...(serverName !== undefined && { serverName }),
      };
    },
  };
}

async function credentialsOf({
  root,
  kubeconfig,
}: Pick<ClusterClient, 'root' | 'kubeconfig'>): Promise<Credentials> {
  return readCredentials(
    kubeconfig,
    filesBelow(() => root),
  );
}

async function useNewCertificate(number: number): Promise<void> {
  const { balanced, servers } = newClients;
  const requested = await noting(`new client ${throughBalancer}`, async () => request(number));
  if (requested === undefined) return;
  await noting(`new client ${throughBalancer}`, async () => use(balanced, requested));
  for (const server of servers) {
    await noting(`new client to ${server}`, async () => use(server, requested));
  }
}

async function use(server: string, pair: KeyPair): Promise<void> {
  const { caPem } = await credentialsOf(newClients);
  uses += 1;
  const status = await statusOfNewConnection({ url: `${server}/api`, caPem, pair });
  if (status !== 200) throw new Error(`status ${status}`);
}

/** Undefined after an error, which is a failure of the client. */
async function noting<T>(client: string, work: () => Promise<T>): Promise<T | undefined> {
  const at = new Date().toISOString();
  try {
    return await work();
  } catch (error) {
    failures.push({ client, at, problem: describeError(error) });
    return undefined;
  }
}

/** An administrator may create CSRs of nodes, which kube-controller-manager approves. */
async function request(number: number): Promise<KeyPair> {
  const { caPem, pair } = await credentialsOf(newClients);
  const server = newClients.balanced;
  const began = Date.now();
  await using client = new ApiClient({ server, caPem, ...pair });
  const name = `new-client-${process.pid}-${number}`;
  const csr = { name, nodeName: name, usage: 'client auth' } as const;
  const { keyPem } = await submitNodeCsr(client, csr);
  for (;;) {
    const { status } = (await client.must({ method: 'GET', path: csrPath(name) })) as CsrObject;
    const waited = Date.now() - began;
    if (status.certificate !== undefined) {
      issued += 1;
      longestWaitMs = Math.max(longestWaitMs, waited);
      return { keyPem, certificatePem: Buffer.from(status.certificate, 'base64').toString() };
    }
    if (waited > patienceMs) throw new Error(`${name} was not issued in ${patienceMs} ms`);
    await delay(250);
  }
}

const prober = new Prober(clients.map(probed), interval);
const timer = setInterval(() => {
  started += 1;
  const used = useNewCertificate(started).finally(() => pending.delete(used));
  pending.add(used);
}, interval);

process.once('SIGTERM', () => {
  void stop();
});

async function stop(): Promise<void> {
  clearInterval(timer);
  await Promise.all([...pending, prober.stop()]);
  const probes = Object.values(prober.requests).reduce((sum, count) => sum + count, 0);
  const counts = { requests: probes + uses, csrs: issued, longestWaitMs };
  const lines = [...prober.failures, ...failures, counts].map((line) => JSON.stringify(line));
  // At its end, a process drops what does not fit into the pipe.
  process.stdout.write(`${lines.join('\n')}\n`, () => process.exit(0));
}
