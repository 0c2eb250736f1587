import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import {
  argsFor,
  DiscoveryBench,
  pinsOf,
  requireRefusal,
  skipWithoutDiscovery,
} from '../support/discovery-bench.ts';
import { accessIn } from '../support/new-machine.ts';

/** Clusters that change their CA, beside kubeadm's own code. */
describe('nodecertd discover during a CA rollover', { skip: skipWithoutDiscovery() }, () => {
  let bench: DiscoveryBench;
  before(async () => {
    bench = await DiscoveryBench.start();
  });
  after(async () => bench?.[Symbol.asyncDispose]());

  it('refuses a server of a CA that is listed and not pinned, which kubeadm trusts', async () => {
    const { oldCa, newCa, kubeadm } = bench;
    await using server = await bench.startServer({ servedBy: newCa }, oldCa, newCa);
    await using machine = await bench.newMachine();
    const pins = pinsOf(oldCa);
    const ended = await machine.discover(...argsFor(server, pins));
    await requireRefusal(machine, ended, /which is not pinned; pinned: sha256:.*CLUSTER_UNTRUSTED/);
    assert.match(ended.stderr, new RegExp(`--ca-cert-hash ${pinsOf(oldCa, newCa).join(' ')}`));
    // The second connection ended before its request, so the token cannot have been sent.
    assert.deepEqual(
      server.seen.map(({ credential }) => credential),
      ['none'],
    );

    const endpoint = new URL(server.server).host;
    const theirs = await kubeadm.discover({ endpoint, token: machine.token, pins });
    assert.equal(accessIn(theirs).authorities.length, 2);
  });

  it('gets both CAs with the pin of the CA of the server', async () => {
    const { oldCa, newCa } = bench;
    await using server = await bench.startServer({ servedBy: oldCa }, oldCa, newCa);
    await using machine = await bench.newMachine();
    await bench.requireSame(machine, server, pinsOf(oldCa));
    assert.equal((await machine.access()).authorities.length, 2);
  });

  it('gets both CAs with both pins, whichever CA the server uses', async () => {
    const { oldCa, newCa } = bench;
    for (const servedBy of [oldCa, newCa]) {
      await using server = await bench.startServer({ servedBy }, newCa, oldCa);
      await using machine = await bench.newMachine();
      await bench.requireSame(machine, server, pinsOf(oldCa, newCa));
    }
  });

  it('says which CA to pin if the server still uses the old one', async () => {
    const { oldCa, newCa } = bench;
    await using server = await bench.startServer({ servedBy: oldCa }, oldCa, newCa);
    await using machine = await bench.newMachine();
    const ended = await machine.discover(...argsFor(server, pinsOf(newCa)));
    await requireRefusal(machine, ended, /which is not pinned/);
    assert.match(
      ended.stderr,
      new RegExp(`pass both hashes: --ca-cert-hash ${pinsOf(newCa, oldCa).join(' ')}`),
    );
  });

  it('accepts a server of the new CA that sends a bridge from the pinned old CA', async () => {
    const { oldCa, newCa } = bench;
    const bridge = await oldCa.bridgeTo(newCa);
    await using server = await bench.startServer({ servedBy: newCa, bridge }, oldCa, newCa);
    await using machine = await bench.newMachine();
    await bench.requireSame(machine, server, pinsOf(oldCa));
  });

  it('omits the CA that is not pinned with --only-pinned', async () => {
    const { oldCa, newCa } = bench;
    await using server = await bench.startServer({ servedBy: oldCa }, oldCa, newCa);
    await using machine = await bench.newMachine();
    const ended = await machine.discover(...argsFor(server, pinsOf(oldCa)), '--only-pinned');
    assert.equal(ended.code, 0, ended.stderr);
    assert.equal((await machine.access()).authorities.length, 1);
  });

  it('says at once that cluster-info lacks the CA of the server', async () => {
    const { oldCa, newCa, kubeadm } = bench;
    await using server = await bench.startServer({ servedBy: newCa }, oldCa);
    await using machine = await bench.newMachine();
    const pins = pinsOf(oldCa);
    const ended = await machine.discover(...argsFor(server, pins));
    await requireRefusal(machine, ended, /cluster-info was not updated after a CA rollover/);
    // Nothing was repeated.
    assert.equal(server.seen.length, 1);

    const endpoint = new URL(server.server).host;
    await assert.rejects(
      kubeadm.discover({ endpoint, token: machine.token, pins }),
      /certificate signed by unknown authority/,
    );
  });
});
