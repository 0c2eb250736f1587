import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:https';
import type { TLSSocket } from 'node:tls';
import { describe, it } from 'node:test';
import { systemClock } from '../../../src/sys/clock.ts';
import {
  probeFrontProxy,
  requireFrontProxyTrust,
} from '../../../src/trust/control-plane/front-proxy-trust.ts';
import { hastened } from '../../support/hastened-clock.ts';
import { issueWithOpenssl, leafExtensions } from '../../pki/renewal/openssl-authority.ts';
import type { TestAuthority } from '../node/authority.ts';
import { contextWith, next, old } from './check-context.ts';
import { startComponent } from './component-server.ts';

const { signal } = new AbortController();

/** Two minutes pass in a second. Requests have their whole time. */
const fast = { ...systemClock, elapsed: () => hastened(120).elapsed() };

interface ExtensionServer extends AsyncDisposable {
  readonly port: number;
  readonly users: string[];
}

/** Authenticates the user in the header if a trusted CA has issued a certificate with the allowed name. */
async function startExtension(trusted: TestAuthority, allowed: string): Promise<ExtensionServer> {
  const leaf = issueWithOpenssl({ subject: '/CN=server', extensions: leafExtensions, signer: old });
  const options = { cert: leaf.certificate, key: leaf.key, ca: trusted.pem };
  const users: string[] = [];
  const server = createServer(
    { ...options, requestCert: true, rejectUnauthorized: false },
    (request, response) => {
      const socket = request.socket as TLSSocket;
      const isProxy = socket.authorized && socket.getPeerCertificate().subject.CN === allowed;
      const user = isProxy ? String(request.headers['x-remote-user']) : 'system:anonymous';
      users.push(user);
      response.writeHead(403).end(`forbidden: User "${user}" cannot get path "${request.url}"`);
    },
  );
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    users,
    [Symbol.asyncDispose]: async () => {
      server.close();
      await once(server, 'close');
    },
  };
}

describe('probeFrontProxy()', () => {
  it('is accepted if the server answers the user in the header', async () => {
    await using server = await startExtension(next, 'front-proxy-client');
    const flags = [{ name: 'requestheader-allowed-names', value: 'front-proxy-client,other' }];
    const context = await contextWith({ apiServer: 1 }, { clock: systemClock, flags });
    const target = { host: '127.0.0.1', port: server.port, path: '/apis/example.com/v1' };
    const results = {
      old: await probeFrontProxy(context, { ...target, side: 'old' }, signal),
      next: await probeFrontProxy(context, { ...target, side: 'next' }, signal),
    };
    assert.deepEqual(results, { old: { kind: 'rejected' }, next: { kind: 'accepted' } });
    assert.deepEqual(server.users, ['system:anonymous', 'nodecertd:ca-rollover-probe']);
  });
});

describe('requireFrontProxyTrust()', () => {
  it('returns if kube-apiserver accepts front proxies by exactly these CAs', async () => {
    await using server = await startComponent({ served: old, trusted: [next] });
    const context = await contextWith({ apiServer: server.port }, { clock: systemClock });
    await requireFrontProxyTrust(context, ['next'], signal);
  });

  const faults = [
    [
      [old],
      ['old', 'next'],
      /^kube-apiserver at .* rejects a front-proxy certificate from the new CA, 2m after/,
    ],
    [
      [old, next],
      ['next'],
      /^kube-apiserver at .* still accepts a front-proxy certificate from the old CA/,
    ],
  ] as const;
  for (const [trusted, wanted, message] of faults) {
    it(`fails if it trusts ${trusted.length} and should trust ${wanted.length}`, async () => {
      await using server = await startComponent({ served: old, trusted });
      const context = await contextWith({ apiServer: server.port }, { clock: fast });
      await assert.rejects(requireFrontProxyTrust(context, wanted, signal), {
        code: 'CERT_UNTRUSTED',
        message,
      });
    });
  }
});
