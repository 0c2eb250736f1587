import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { TestNode } from '../support/agent.ts';
import type { ControlPlane } from '../support/control-plane.ts';
import { skipWithout } from '../support/programs.ts';
import { startSandboxControlPlane } from '../support/sandbox-control-plane.ts';
import { keys } from './keys.ts';
import type { WatchOptions } from './keys/watched-agent.ts';
import { WatchedAgent } from './keys/watched-agent.ts';

describe('keys under strace', { skip: skipWithout('strace') }, () => {
  let controlPlane: ControlPlane;
  let directory: string;
  before(async () => {
    controlPlane = await startSandboxControlPlane({ signingSeconds: 3600 });
    directory = await mkdtemp(join(tmpdir(), 'nodecertd-keys-test-'));
  });
  after(async () => {
    await controlPlane[Symbol.asyncDispose]();
    await rm(directory, { recursive: true });
  });

  /** Runs a bootstrap with an agent that leaks a key. */
  async function bootstrap(leak: WatchOptions['leak'] & string): Promise<WatchedAgent> {
    await using node = await TestNode.create(controlPlane, `leak-${leak}`);
    const watched = await WatchedAgent.start(node, join(directory, leak), { leak });
    await watched.agent.event('certificate_stored');
    if (leak === 'keeper') await assertKept(watched);
    await watched.agent.stop();
    return watched;
  }

  it('finds a key on standard error', async () => {
    const watched = await bootstrap('stderr');
    await assert.rejects(watched.requireCleanTrace(), /^Error: written were .*\nd as base64/);
  });

  it('finds a key that the enroller sends to the keeper', async () => {
    const watched = await bootstrap('ipc');
    await assert.rejects(watched.requireCleanTrace(), /d as list of bytes: UNIX-STREAM/);
  });

  it('finds a copy of the pair in the memory of the keeper', async () => {
    const watched = await bootstrap('keeper');
    assert.equal((await watched.requireCleanTrace()).size, 1);
  });

  it('finds no key when certificates rotate and requests fail', async () => {
    const { signal } = new AbortController();
    const rows = [];
    for await (const row of keys.run({ thorough: false, signal, progress: () => undefined })) {
      rows.push(row);
    }
    const [rotations, givenUp, certs, discover] = rows;
    assert.ok((rotations?.tried ?? 0) >= 10);
    // Each of the four is requested twice, and the deleted one once more.
    assert.ok((givenUp?.tried ?? 0) >= 8);
    for (const code of ['CSR_DENIED', 'CSR_FAILED', 'CSR_DELETED', 'ENROLLER_LOST', 'STORE_FULL']) {
      assert.ok(givenUp?.seen.includes(`rotation_failed ${code}`), code);
    }
    assert.equal(rotations?.lost, 0);
    assert.ok((certs?.tried ?? 0) >= 10);
    assert.ok((discover?.tried ?? 0) >= 9);
  });
});

async function assertKept(watched: WatchedAgent): Promise<void> {
  // The leaking keeper reads the pair every 200 ms.
  await delay(1_000);
  assert.throws(() => watched.requireCleanKeeper(), /memory has parts of 1 keys:\nd as base64/);
}
