import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import type { TestContext } from 'node:test';
import { describe, it } from 'node:test';
import { Approver } from '../../src/app/approver.ts';
import { PolicyLoader } from '../../src/app/policy-loader.ts';
import { second } from '../../src/core/instant.ts';
import type { LogFields } from '../../src/core/log-events.ts';
import { accessTo, ApiServer, sendStatus } from '../kube/support/api-server.ts';
import { temporaryDirectory } from '../store/pairs.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { PolicyFiles } from './policy-files.ts';

/** An approver whose API server answers every request with 503. */
class Scene implements AsyncDisposable {
  readonly clock = new FakeClock();
  readonly lines: (LogFields & { readonly event: string })[] = [];
  readonly approver: Approver;
  readonly #stop = new AbortController();
  readonly #server: ApiServer;
  readonly #started = Promise.withResolvers<void>();
  readonly #run: Promise<void>;

  private constructor(server: ApiServer, policy: string, host: string) {
    this.#server = server;
    this.approver = new Approver({
      loadAccess: () => accessTo(server),
      policy: new PolicyLoader(policy),
      lease: { namespace: 'kube-system', name: 'nodecertd-approver' },
      identity: 'replica',
      metrics: { host, port: 0, kubeletNames: false },
      logger: {
        log: (event, fields = {}) => {
          this.lines.push({ event, ...fields });
        },
      },
      clock: this.clock,
      random: () => 0,
      onStarted: () => {
        this.#started.resolve();
      },
    });
    this.#run = this.approver.run(this.#stop.signal);
    this.#run.catch(this.#started.reject);
  }

  static async start(policy: string, host = '127.0.0.1'): Promise<Scene> {
    const server = await ApiServer.start((_, response) => {
      sendStatus(response, 503);
    });
    const scene = new Scene(server, policy, host);
    try {
      await scene.#started.promise;
      return scene;
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** What `policy_last_reload_successful` is. */
  async successful(): Promise<string | undefined> {
    const listening = this.lines.find(({ event }) => event === 'metrics_listening');
    const response = await fetch(`http://${String(listening?.['address'])}/metrics`);
    const text = await response.text();
    return /policy_last_reload_successful (\d)\n/.exec(text)?.[1];
  }

  /** The events about the policy so far, and forgets them. */
  policyEvents(): string[] {
    const events = this.lines.map(({ event }) => event);
    this.lines.splice(events.indexOf('metrics_listening') + 1);
    return events.filter((event) => event.startsWith('policy_'));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#run;
    await this.#server[Symbol.asyncDispose]();
  }
}

async function validFiles(context: TestContext): Promise<PolicyFiles> {
  const files = new PolicyFiles(await temporaryDirectory(context));
  await files.writePolicy();
  await files.writeInventory('n1');
  return files;
}

describe('Approver', () => {
  it('reload() is successful only if the policy and the inventory are valid', async (context) => {
    const files = await validFiles(context);
    await using scene = await Scene.start(files.policy);
    assert.deepEqual([scene.policyEvents(), await scene.successful()], [[], '1']);
    await writeFile(files.inventory, 'kind: Other');
    await scene.approver.reload();
    assert.deepEqual([scene.policyEvents(), await scene.successful()], [['policy_refused'], '0']);

    // A valid policy beside an inventory that is still invalid.
    await files.writePolicy({ mode: 'observe' });
    await scene.approver.reload();
    const [refused] = scene.lines.filter(({ event }) => event === 'policy_refused');
    assert.equal(refused?.['mode'], 'observe');
    assert.match(String(refused?.['error']), /nodes\.yaml/);
    assert.deepEqual([scene.policyEvents(), await scene.successful()], [['policy_refused'], '0']);
    assert.equal(scene.approver.policy.mode, 'observe');

    await files.writeInventory('n1');
    await scene.approver.reload();
    assert.deepEqual([scene.policyEvents(), await scene.successful()], [['policy_reloaded'], '1']);
    await writeFile(files.policy, 'kind: Other');
    await scene.approver.reload();
    assert.deepEqual([scene.policyEvents(), await scene.successful()], [['policy_refused'], '0']);
    assert.equal(scene.approver.policy.mode, 'observe');
  });

  it('starts with an invalid inventory, and says so', async (context) => {
    const files = await validFiles(context);
    await writeFile(files.inventory, 'kind: Other');
    await using scene = await Scene.start(files.policy);
    assert.equal(await scene.successful(), '0');
    assert.equal(scene.lines[0]?.event, 'policy_refused');
  });

  it('does not start with an invalid policy', async (context) => {
    const files = await validFiles(context);
    await writeFile(files.policy, 'kind: Other');
    await assert.rejects(Scene.start(files.policy), { code: 'CONFIG_INVALID' });
  });

  it('logs the address on which it listens', async (context) => {
    const files = await validFiles(context);
    await using scene = await Scene.start(files.policy, '0.0.0.0');
    const line = scene.lines.find(({ event }) => event === 'metrics_listening');
    assert.match(String(line?.['address']), /^0\.0\.0\.0:\d+$/);
  });

  it('notices a changed inventory within ten seconds', async (context) => {
    const files = await validFiles(context);
    await using scene = await Scene.start(files.policy);
    await files.writeInventory('n1', 'n2');
    await scene.clock.advance(10 * second);
    while (!scene.lines.some(({ event }) => event === 'policy_reloaded')) {
      await new Promise(setImmediate);
    }
    assert.equal(await scene.successful(), '1');
  });
});
