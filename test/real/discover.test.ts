import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { after, before, describe, it } from 'node:test';
import { parseBootstrapToken } from '../../src/core/bootstrap-token.ts';
import { day } from '../../src/core/instant.ts';
import { isSignedBy, signatureOf } from '../../src/discovery/signature.ts';
import { SettableClock } from '../fault/clock/settable-clock.ts';
import { TestNode } from '../support/agent.ts';
import {
  argsFor,
  DiscoveryBench,
  pinsOf,
  requireRefusal,
  skipWithoutDiscovery,
} from '../support/discovery-bench.ts';
import type { ClusterInfo } from '../support/discovery-plane.ts';
import { idOf } from '../support/discovery-plane.ts';
import type { FaultProxy } from '../support/fault-proxy.ts';
import { accessIn, NewMachine } from '../support/new-machine.ts';
import { skipWithout } from '../support/programs.ts';
import { until } from '../support/until.ts';

/** Discovery of a real cluster, beside kubeadm's own code. */
describe('nodecertd discover', { skip: skipWithoutDiscovery(), timeout: 300_000 }, () => {
  let bench: DiscoveryBench;
  before(async () => {
    bench = await DiscoveryBench.start();
  });
  after(async () => bench?.[Symbol.asyncDispose]());

  describe('signatureOf()', () => {
    const contents: Readonly<Record<string, () => ClusterInfo>> = {
      'one CA': () => bench.cluster.plane,
      'two CAs of one name': () => ({
        server: bench.cluster.plane.server,
        caPem: bench.oldCa.certificatePem + bench.newCa.certificatePem,
      }),
      'another server': () => ({
        server: 'https://api.example.com:8443',
        caPem: bench.oldCa.certificatePem,
      }),
    };
    for (const [name, content] of Object.entries(contents)) {
      it(`equals that of the bootstrap signer and kubeadm: ${name}`, async () => {
        await bench.cluster.publish(content());
        const text = await bench.cluster.createToken();
        const signature = await bench.cluster.untilSigned(text);
        const kubeconfig = await bench.cluster.content();
        const [id = '', secret = ''] = text.split('.');
        const signed = { content: kubeconfig, id, secret };
        assert.equal(await bench.kubeadm.sign(signed), signature);

        using token = parseBootstrapToken(Buffer.from(text));
        assert.ok(token);
        assert.equal(signatureOf(kubeconfig, token), signature);
        assert.ok(isSignedBy(token, { kubeconfig, signature }));
        for (const damaged of withOneBitFlipped(signature)) {
          assert.ok(!isSignedBy(token, { kubeconfig, signature: damaged }), damaged);
          assert.ok(!(await bench.kubeadm.accepts(damaged, signed)), damaged);
        }
        for (const damaged of withOneBitFlipped(kubeconfig)) {
          assert.ok(!isSignedBy(token, { kubeconfig: damaged, signature }), damaged);
        }
      });
    }
  });

  describe('with the CA of the server pinned', () => {
    let machine: NewMachine;
    before(async () => {
      await bench.cluster.publish();
      machine = await bench.newMachine();
    });
    after(async () => machine?.[Symbol.asyncDispose]());

    it('writes a kubeconfig with the same meaning as kubeadm', async () => {
      await bench.requireSame(machine, bench.cluster.plane, [bench.cluster.pin]);
      assert.deepEqual(await machine.files(), { 'bootstrap-kubelet.conf': '0600' });
    });

    it('writes the CAs to a file, which the kubeconfig then names', async () => {
      const before = await machine.access();
      const args = argsFor(bench.cluster.plane, [bench.cluster.pin]);
      const ended = await machine.discover(...args, '--ca-file', machine.caFile);
      assert.equal(ended.code, 0, ended.stderr);
      const modes = { 'bootstrap-kubelet.conf': '0600', 'ca.crt': '0600' };
      assert.deepEqual(await machine.files(), modes);
      assert.equal(await readFile(machine.caFile, 'utf8'), bench.cluster.plane.caPem);
      assert.match(await readFile(machine.output, 'utf8'), /certificate-authority: .*ca\.crt/);
      assert.deepEqual(await machine.access(), before);
    });

    it('writes a kubeconfig with which the agent bootstraps', async () => {
      const settings = { bootstrapKubeconfig: machine.output };
      await using node = await TestNode.create(bench.cluster.plane, 'discovered', settings);
      await node.start().event('certificate_stored');
      const { subject } = await node.read('kubelet-client');
      assert.equal(subject, 'O=system:nodes\nCN=system:node:discovered');
    });
  });

  describe('without pins', () => {
    it('requires --unsafe-skip-ca-verification, then finds the same as kubeadm', async () => {
      await bench.cluster.publish();
      await using machine = await bench.newMachine();
      const { endpoint } = bench.cluster;
      const refused = await machine.discover('--endpoint', endpoint);
      assert.equal(refused.code, 2, refused.stderr);
      assert.match(refused.stderr, /without the hash of the CA key/);

      const args = ['--endpoint', endpoint, '--unsafe-skip-ca-verification', '-o', 'json'];
      const ended = await machine.discover(...args);
      assert.equal(ended.code, 0, ended.stderr);
      const report = JSON.parse(ended.stdout) as Readonly<Record<string, unknown>>;
      assert.equal(report['verifiedBy'], 'token');
      assert.match(String(report['warnings']), /can pose as the cluster/);

      const theirs = await bench.kubeadm.discover({ endpoint, token: machine.token, unsafe: true });
      assert.deepEqual(await machine.access(), accessIn(theirs));
    });
  });

  describe('with a token that does not work', () => {
    let server: FaultProxy;
    before(async () => {
      server = await bench.startServer({ servedBy: bench.oldCa }, bench.oldCa);
    });
    after(async () => server?.[Symbol.asyncDispose]());

    /** @returns the number of requests for cluster-info */
    async function requireMessage(token: string, message: RegExp): Promise<number> {
      await using machine = await NewMachine.create(token);
      server.seen.splice(0);
      const ended = await machine.discover(...argsFor(server, pinsOf(bench.oldCa)));
      await requireRefusal(machine, ended, message);
      return server.seen.filter(({ path }) => path.includes('cluster-info')).length;
    }

    it('says at once that the secret is wrong', async () => {
      const token = `${idOf(await bench.cluster.createSignedToken())}.${'0'.repeat(16)}`;
      const message = /the secret of the token is wrong.* \(CLUSTER_UNTRUSTED\)/;
      assert.equal(await requireMessage(token, message), 1);
    });

    it('says that the id is unknown', async () => {
      const message = /is not signed for token zzzzzz, only for \d+ other tokens: .*has expired/;
      // At the start, after 5 s and after 10 s; then once to try the token.
      assert.ok((await requireMessage('zzzzzz.0123456789abcdef', message)) <= 4);
    });

    it('says that the token is for authentication only', async () => {
      const token = await bench.cluster.createToken({ usages: ['authentication'] });
      const message = new RegExp(`token ${idOf(token)} lacks usage-bootstrap-signing`);
      assert.ok((await requireMessage(token, message)) <= 4);
    });

    it('says at once that the token is for signing only', async () => {
      const token = await bench.cluster.createSignedToken({ usages: ['signing'] });
      assert.equal(await requireMessage(token, /lacks usage-bootstrap-authentication/), 2);
    });

    it('gives an expired token the message of an unknown id', async () => {
      const token = await bench.cluster.createExpiredToken(Date.now() + 2_000);
      await requireMessage(token, /is not signed for token .*has expired/);
    });
  });

  describe('while nothing is signed', () => {
    it('waits, says so once, and succeeds', async () => {
      const { cluster, oldCa } = bench;
      await using server = await bench.startServer({ servedBy: oldCa }, oldCa);
      await using machine = await NewMachine.create(await cluster.createToken());
      await cluster.plane.stopControllers();
      // Without the signatures.
      await cluster.publish({ server: server.server, caPem: oldCa.certificatePem });
      server.seen.splice(0);
      const running = machine.discover(...argsFor(server, pinsOf(oldCa)));
      await until('three attempts', () => server.seen.length >= 3);
      await cluster.plane.startControllers();
      const ended = await running;
      assert.equal(ended.code, 0, ended.stderr);
      assert.equal(ended.stderr.match(/is not signed yet; waiting/g)?.length, 1, ended.stderr);
    });
  });

  describe('with a wrong clock', { skip: skipWithout('faketime') }, () => {
    const years = 365.25 * day;
    const clocks = { 'in 1970': -Date.now() + day, '20 years ahead': 20 * years };
    for (const [name, offset] of Object.entries(clocks)) {
      it(`says by how much it is wrong: ${name}`, async () => {
        await bench.cluster.publish();
        await using machine = await bench.newMachine();
        using clock = new SettableClock(offset);
        const args = argsFor(bench.cluster.plane, [bench.cluster.pin]);
        const ended = await machine.discoverInProcess(clock.env, ...args);
        const days = Math.floor(Math.abs(offset) / day);
        const direction = offset < 0 ? 'behind' : 'ahead of';
        const message = `the clock of this machine is ${days}d .*${direction} the Date header`;
        await requireRefusal(machine, ended, new RegExp(message));
      });
    }
  });
});

/** A text for each byte, with one bit of it changed. */
function* withOneBitFlipped(text: string): Iterable<string> {
  const bytes = Buffer.from(text);
  for (let at = 0; at < bytes.length; at += 1) {
    const bit = 1 << (at % 7);
    bytes[at] = (bytes[at] ?? 0) ^ bit;
    yield bytes.toString();
    bytes[at] = (bytes[at] ?? 0) ^ bit;
  }
}
