import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { AddressInfo, Server, Socket } from 'node:net';
import { createServer as createTcpServer } from 'node:net';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import type { TestContext } from 'node:test';
import type { Server as TlsServer } from 'node:tls';
import { createServer } from 'node:tls';
import { day, minute } from '../../../src/core/instant.ts';
import { defaultThreshold } from '../../../src/pki/inventory/judge.ts';
import type { ServedEndpoint, ServedItem } from '../../../src/pki/inventory/served.ts';
import { checkServed } from '../../../src/pki/inventory/served.ts';
import { temporaryDirectory } from '../../store/pairs.ts';
import type { Issued, TestCa } from '../kubeadm-tree.ts';
import { makeCa, makeLeaf, writePair } from '../kubeadm-tree.ts';

const now = Date.now();
const year = { notBefore: now - day, notAfter: now + 365 * day };
const options = {
  now,
  threshold: defaultThreshold,
  signal: new AbortController().signal,
};

let ca: TestCa;
before(async () => {
  ca = await makeCa('kubernetes', year);
});

async function leaf(subject = 'CN=kube-apiserver', issuer = ca): Promise<Issued> {
  return makeLeaf(issuer, { ...year, subject, usages: ['server auth'] });
}

/** Serves a pair over TLS on loopback until the end of the test. */
async function serve(test: TestContext, pair: Issued): Promise<ServedEndpoint> {
  return listen(test, tlsServer(pair));
}

function tlsServer({ pem, keyPem }: Issued): TlsServer {
  return createServer({ cert: pem, key: keyPem }, (socket) => {
    socket.on('error', () => undefined);
  });
}

async function listen(test: TestContext, server: Server): Promise<ServedEndpoint> {
  const sockets = new Set<Socket>();
  server.on('connection', (socket) => sockets.add(socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  test.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { name: 'kube-apiserver', component: 'kube-apiserver', host: '127.0.0.1', port };
}

async function check(endpoint: ServedEndpoint): Promise<ServedItem> {
  const [item] = await checkServed([endpoint], options);
  assert.ok(item);
  return item;
}

describe('checkServed()', () => {
  it('is current, stale after the file was replaced, and current after a reload', async (test) => {
    const certificateFile = join(await temporaryDirectory(test), 'apiserver.crt');
    const [old, replacement] = [await leaf(), await leaf()];
    await writePair(certificateFile, old);
    const server = tlsServer(old);
    const endpoint = { ...(await listen(test, server)), certificateFile };
    const current = await check(endpoint);
    assert.equal(current.verdict, 'current');
    assert.equal(current.state, 'ok');
    await writePair(certificateFile, replacement);
    const stale = await check(endpoint);
    assert.equal(stale.verdict, 'stale');
    assert.equal(stale.state, 'stale-served');
    assert.match(
      stale.reason ?? '',
      /^serves serial [0-9a-f]+, but .*apiserver\.crt has had serial [0-9a-f]+ for \d/,
    );
    assert.match(stale.reason ?? '', new RegExp(current.certificate?.serial ?? 'none'));
    server.setSecureContext({ cert: replacement.pem, key: replacement.keyPem });
    assert.equal((await check(endpoint)).verdict, 'current');
  });

  it('is foreign for a certificate of another program', async (test) => {
    const certificateFile = join(await temporaryDirectory(test), 'apiserver.crt');
    await writePair(certificateFile, await leaf());
    const endpoint = { ...(await serve(test, await leaf('CN=nginx'))), certificateFile };
    const { verdict, reason = '' } = await check(endpoint);
    assert.equal(verdict, 'foreign');
    assert.match(reason, /serves a certificate of CN=nginx, not the certificate in /);
  });

  it('names a certificate that the component created in memory', async (test) => {
    const own = await makeCa('localhost-ca@1764331200', year);
    const { verdict, state, reload } = await check(
      await serve(test, await leaf('CN=localhost@1764331200', own)),
    );
    assert.deepEqual([verdict, state, reload], ['self-signed in memory', 'ok', 'restart']);
  });

  it('reports the end of a certificate in memory', async (test) => {
    const own = await makeCa('localhost-ca@1764331200', year);
    const short = await makeLeaf(own, {
      notBefore: now - 360 * day,
      notAfter: now + 5 * day + minute,
      subject: 'CN=localhost@1764331200',
      usages: ['server auth'],
    });
    const { state, reason, remedy = '' } = await check(await serve(test, short));
    assert.deepEqual([state, reason], ['expiring', 'expires in 5d']);
    assert.match(remedy, /^Restart kube-apiserver/);
  });

  it('waits for silent endpoints at the same time, and reports them as unreachable', async (test) => {
    let open = 0;
    let most = 0;
    const server = createTcpServer((socket) => {
      open += 1;
      most = Math.max(most, open);
      socket.on('error', () => undefined).on('close', () => (open -= 1));
    });
    const endpoint = await listen(test, server);
    const items = await checkServed(
      Array.from({ length: 10 }, () => endpoint),
      options,
    );
    assert.equal(most, 10);
    for (const { verdict, state, reason } of items) {
      assert.deepEqual([verdict, state], ['unreachable', 'ok']);
      assert.equal(reason, 'no TLS handshake within 3 s');
    }
  });

  it('reports a refused connection', async (test) => {
    const server = createTcpServer();
    const endpoint = await listen(test, server);
    server.close();
    await once(server, 'close');
    const { verdict, reason = '' } = await check(endpoint);
    assert.equal(verdict, 'unreachable');
    assert.match(reason, /ECONNREFUSED/);
  });
});
