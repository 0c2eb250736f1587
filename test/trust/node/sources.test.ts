import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { SourceReading } from '../../../src/trust/node/source.ts';
import { readSources } from '../../../src/trust/node/sources.ts';
import type { Clock } from '../../../src/sys/clock.ts';
import { systemClock } from '../../../src/sys/clock.ts';
import type { Handler, KubeconfigParts } from '../../kube/support/api-server.ts';
import {
  accessTo,
  ApiServer,
  base64,
  sendJson,
  sendStatus,
  temporaryFolder,
} from '../../kube/support/api-server.ts';
import { selfSigned } from '../../kube/support/certificates.ts';
import { FakeClock } from '../../support/fake-clock.ts';

const signer = 'kubernetes.io/kube-apiserver-serving';
const bundlePath = '/apis/certificates.k8s.io/v1/clustertrustbundles';
const clusterInfoPath = '/api/v1/namespaces/kube-public/configmaps/cluster-info';

interface Cluster {
  readonly bundles?: Handler;
  readonly clusterInfo?: Handler;
}

const forbidden: Handler = (_, response) => {
  sendStatus(response, 403, { reason: 'Forbidden' });
};

function bundle(name: string, trustBundle: string, signerName = signer): unknown {
  return { metadata: { name }, spec: { signerName, trustBundle } };
}

function bundles(...items: readonly unknown[]): Handler {
  return (_, response) => {
    sendJson(response, { kind: 'ClusterTrustBundleList', metadata: {}, items });
  };
}

function clusterInfo(bundle: string): Handler {
  return (_, response) => {
    const cluster = {
      server: 'https://10.0.0.1:6443',
      'certificate-authority-data': base64(bundle),
    };
    const kubeconfig = JSON.stringify({ clusters: [{ name: '', cluster }] });
    const metadata = { name: 'cluster-info', namespace: 'kube-public' };
    sendJson(response, { kind: 'ConfigMap', apiVersion: 'v1', metadata, data: { kubeconfig } });
  };
}

function text(body: string): Handler {
  return (_, response) => {
    response.end(body);
  };
}

/** 200 MiB, or as much of it as the client takes. */
const endless: Handler = (_, response) => {
  const chunk = Buffer.alloc(1024 * 1024, ' ');
  let left = 200;
  const send = (): void => {
    while (left > 0 && !response.destroyed) {
      left -= 1;
      if (!response.write(chunk)) {
        response.once('drain', send);
        return;
      }
    }
    response.end();
  };
  send();
};

async function startCluster({
  bundles = forbidden,
  clusterInfo = forbidden,
}: Cluster): Promise<ApiServer> {
  return ApiServer.start((request: IncomingMessage, response: ServerResponse) => {
    const { pathname } = new URL(request.url ?? '/', 'https://host');
    if (pathname === bundlePath) bundles(request, response);
    else if (pathname === clusterInfoPath) clusterInfo(request, response);
    else sendStatus(response, 404, { reason: 'NotFound' });
  });
}

interface Reading {
  readonly file?: string;
  readonly clock?: Clock;
  readonly parts?: Partial<KubeconfigParts>;
}

async function read(
  server: ApiServer,
  { file, clock = systemClock, parts = {} }: Reading = {},
): Promise<SourceReading[]> {
  using access = await accessTo(server, parts);
  const signal = AbortSignal.timeout(60_000);
  const search = { access, version: '1.2.3', clock, signal };
  return await readSources({ ...search, ...(file !== undefined && { file }) });
}

/** The outcome of each source, with what it says. */
function summary(readings: readonly SourceReading[]): string[] {
  return readings.map((reading) => {
    const { kind, outcome } = reading;
    if (outcome === 'read') return `${kind}: ${Buffer.from(reading.pem).toString()}`;
    return `${kind} ${outcome}: ${outcome === 'absent' ? reading.reason : reading.failure.message}`;
  });
}

describe('readSources()', () => {
  it('reads the file, the bundle and cluster-info in this order', async () => {
    await using folder = await temporaryFolder();
    const file = join(folder.path, 'ca.crt');
    await writeFile(file, 'of the file');
    await using server = await startCluster({
      bundles: bundles(bundle('root', 'of the bundle')),
      clusterInfo: clusterInfo('of cluster-info'),
    });
    const readings = await read(server, { file });
    assert.deepEqual(summary(readings), [
      'file: of the file',
      'cluster-trust-bundle: of the bundle',
      'cluster-info: of cluster-info',
    ]);
    assert.deepEqual(
      readings.map(({ name }) => name),
      [file, 'root', 'kube-public/cluster-info'],
    );
  });

  it('reads cluster-info without the credential of the node', async () => {
    await using server = await startCluster({ clusterInfo: clusterInfo('CA') });
    await read(server);
    const sent = server.requests.map(({ url, headers }) => [url, headers.authorization]);
    assert.deepEqual(
      new Map(sent.map(([url, header]) => [url ?? '', header])),
      new Map([
        [clusterInfoPath, undefined],
        [
          `${bundlePath}?fieldSelector=spec.signerName%3D${encodeURIComponent(signer)}&limit=16`,
          'Bearer abc',
        ],
      ]),
    );
    assert.equal(sent.length, 2);
  });

  it('uses only bundles of the signer, and joins them', async () => {
    await using server = await startCluster({
      bundles: bundles(
        bundle('one', 'ONE'),
        bundle('other', 'OTHER', `${signer}-other`),
        bundle('none', 'NONE', ''),
        bundle('two', 'TWO'),
      ),
    });
    const [found] = await read(server);
    assert.deepEqual(summary(found ? [found] : []), ['cluster-trust-bundle: ONE\nTWO']);
    assert.equal(found?.name, 'one, two');
  });

  const absences: Readonly<Record<string, readonly [Cluster, string[]]>> = {
    'an API server that forbids both': [
      {},
      [
        'cluster-trust-bundle absent: this node may not list ClusterTrustBundles (HTTP status 403)',
        'cluster-info absent: anonymous users may not read cluster-info (HTTP status 403)',
      ],
    ],
    'Kubernetes 1.36 without cluster-info': [
      { bundles: notFound, clusterInfo: notFound },
      [
        'cluster-trust-bundle absent: the API server has no ClusterTrustBundles (Kubernetes before 1.37)',
        'cluster-info absent: the cluster has no ConfigMap cluster-info in the namespace kube-public',
      ],
    ],
    'an API server without bundles and without anonymous requests': [
      {
        bundles: bundles(bundle('other', 'OTHER', 'example.com/other')),
        clusterInfo: unauthorized,
      },
      [
        'cluster-trust-bundle absent: the cluster has no ClusterTrustBundle of this signer',
        'cluster-info absent: the API server rejects anonymous requests (HTTP status 401)',
      ],
    ],
  };
  for (const [what, [cluster, expected]] of Object.entries(absences)) {
    it(`finds no source in ${what}`, async () => {
      await using server = await startCluster(cluster);
      assert.deepEqual(summary(await read(server)), expected);
    });
  }

  const failures: Readonly<Record<string, readonly [Handler, RegExp]>> = {
    'HTTP status 500': [status(500), /HTTP status 500/],
    garbage: [text('<html>'), /./],
    'an empty body': [text(''), /./],
    '200 MiB': [endless, /longer than 2097152 bytes/],
    'an object of another kind': [text('{"kind":"Pod"}'), /does not match the API/],
  };
  for (const [what, [handler, message]] of Object.entries(failures)) {
    it(`reports ${what}`, async () => {
      await using server = await startCluster({ bundles: handler, clusterInfo: handler });
      const readings = await read(server);
      assert.deepEqual(
        readings.map(({ outcome }) => outcome),
        ['failed', 'failed'],
      );
      for (const line of summary(readings)) assert.match(line, message);
    });
  }

  it('reports a server that is silent, and reads the other sources', async () => {
    await using folder = await temporaryFolder();
    const file = join(folder.path, 'ca.crt');
    await writeFile(file, 'of the file');
    const clock = new FakeClock(Date.now());
    const asked = Promise.withResolvers<undefined>();
    const silent: Handler = () => asked.resolve(undefined);
    await using server = await startCluster({ bundles: silent, clusterInfo: clusterInfo('CA') });
    const readings = read(server, { file, clock });
    await asked.promise;
    await clock.advance(10_000);
    assert.deepEqual(summary(await readings), [
      'file: of the file',
      `cluster-trust-bundle failed: list ${bundlePath}: no complete response within 10 s`,
      'cluster-info: CA',
    ]);
  });

  it('reads nothing from a server that the CAs of the kubeconfig do not verify', async () => {
    await using server = await ApiServer.start(bundles(bundle('root', 'CA')), {
      pair: await selfSigned('127.0.0.1'),
    });
    const readings = await read(server);
    const codes = readings.map((one) => one.outcome === 'failed' && one.failure.code);
    assert.deepEqual(codes, ['API_UNTRUSTED', 'API_UNTRUSTED']);
    assert.deepEqual(server.requests, []);
  });

  it('reads nothing if the kubeconfig turns off the verification', async () => {
    await using server = await startCluster({ clusterInfo: clusterInfo('CA') });
    const cluster = { 'insecure-skip-tls-verify': true, 'certificate-authority-data': undefined };
    const readings = await read(server, { parts: { cluster } });
    for (const line of summary(readings))
      assert.match(line, /failed: .* sets insecure-skip-tls-verify/);
    assert.deepEqual(server.requests, []);
  });

  it('reports a file that is missing, too long, or a directory', async () => {
    await using folder = await temporaryFolder();
    const path = (name: string): string => join(folder.path, name);
    await using server = await startCluster({});
    await writeFile(path('long'), Buffer.alloc(1024 * 1024 + 1));
    await writeFile(path('empty'), '');
    await mkdir(path('folder'));
    const found: string[] = [];
    for (const name of ['missing', 'long', 'folder', 'empty']) {
      found.push(...summary(await read(server, { file: path(name) })).slice(0, 1));
    }
    assert.deepEqual(found, [
      'file absent: the file does not exist',
      `file failed: ${path('long')} has 1048577 bytes, more than 1048576`,
      `file failed: ${path('folder')} is not a regular file`,
      'file: ',
    ]);
  });

  it('stops with the signal', async () => {
    await using server = await startCluster({ bundles: () => undefined });
    using access = await accessTo(server);
    const search = { access, version: '1.2.3', clock: systemClock };
    await assert.rejects(readSources({ ...search, signal: AbortSignal.abort() }), {
      code: 'ABORTED',
    });
  });
});

function notFound(_: IncomingMessage, response: ServerResponse): void {
  sendStatus(response, 404, { reason: 'NotFound' });
}

function unauthorized(_: IncomingMessage, response: ServerResponse): void {
  sendStatus(response, 401, { reason: 'Unauthorized' });
}

function status(code: number): Handler {
  return (_, response) => {
    sendStatus(response, code, { reason: 'InternalError' });
  };
}
