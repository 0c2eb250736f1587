import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MachineFollower } from '../../src/approver/machine-follower.ts';
import { TermWork } from '../../src/approver/term-work.ts';
import { runTasks } from '../../src/approver/tasks.ts';
import type { ApproverSources } from '../../src/core/approver-policy.ts';
import { defaultApproverPolicy } from '../../src/core/approver-policy.ts';
import type { ErrorCode, Failure } from '../../src/core/errors.ts';
import { AgentError } from '../../src/core/errors.ts';
import { minute, second } from '../../src/core/instant.ts';
import { FakeApi } from './fake-api.ts';

/** A leader whose policy has the source machine. Both clusters are API servers in memory. */
class Scene implements AsyncDisposable {
  readonly api = new FakeApi();
  readonly management = new FakeApi();
  readonly decided: string[] = [];
  readonly held: string[] = [];
  readonly failures: Failure[] = [];
  readonly connected: (string | undefined)[] = [];
  target: ApproverSources['machine'] | undefined = {};
  /** Fails to read the kubeconfig of the management cluster. */
  kubeconfigFault: ErrorCode | undefined;
  synced = 0;
  readonly #stop = new AbortController();
  #run: Promise<void> = Promise.resolve();
  readonly follower = new MachineFollower({
    target: () => this.target,
    connect: ({ kubeconfig }) => {
      this.connected.push(kubeconfig);
      const { environment } = kubeconfig === undefined ? this.api : this.management;
      const refresh = async (): Promise<void> => {
        if (kubeconfig === undefined || this.kubeconfigFault === undefined) return;
        throw new AgentError(this.kubeconfigFault, 'the kubeconfig cannot be read');
      };
      const own = { ...environment, clock: this.api.clock };
      return { environment: own, refresh, [Symbol.asyncDispose]: async () => undefined };
    },
    clock: this.api.clock,
    onChange: (nodes) => {
      this.#work.sourceChanged(nodes);
    },
    onRetry: (_, failure) => this.failures.push(failure),
    onSynced: () => (this.synced += 1),
  });
  readonly #work = new TermWork({
    environment: this.api.environment,
    policy: () => defaultApproverPolicy,
    sources: () => (this.follower.source === undefined ? [] : [this.follower.source]),
    sourcesSettled: this.follower.settled,
    controlPlaneEndpoint: undefined,
    serverNow: () => this.api.clock.now(),
    term: { isLeading: () => true },
    observer: {
      decided: (csr, { outcome }) => this.decided.push(`${outcome} ${csr.name}`),
      held: (csr, { code }) => this.held.push(`${csr.name} ${code}`),
      ignored: () => undefined,
      refused: () => undefined,
      forbidden: () => undefined,
      retrying: () => undefined,
      recovered: () => undefined,
    },
  });

  async start(): Promise<void> {
    this.follower.retarget();
    this.#run = runTasks(this.#stop.signal, [
      (signal) => this.#work.run(signal),
      (signal) => this.follower.run(signal),
    ]);
    await this.pass(0);
  }

  async pass(ms: number): Promise<void> {
    await this.api.clock.advance(ms);
  }

  /** A Node with the providerID of its Machine, and a CSR of it. */
  addNode(name: string): void {
    this.api.addNode(name, { spec: { providerID: `test://${name}` } });
    this.api.addCsr(`csr-${name}`, name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#run;
  }
}

describe('MachineFollower', () => {
  for (const version of ['v1beta1', 'v1beta2']) {
    it(`approves with the Machines in version ${version}, without a hold at the start`, async () => {
      await using scene = new Scene();
      scene.api.machineVersions = [version, 'v1alpha4'];
      scene.addNode('n1');
      scene.api.setMachine('n1', ['n1']);
      await scene.start();
      assert.deepEqual([scene.decided, scene.held], [['approve csr-n1'], []]);
      assert.equal(scene.follower.synced, true);
    });
  }

  it('evaluates CSRs of a Node again when its Machine changes', async () => {
    await using scene = new Scene();
    scene.api.machineVersions = ['v1beta2'];
    scene.addNode('n1');
    scene.addNode('n2');
    await scene.start();
    assert.deepEqual(scene.held, ['csr-n1 SourceDisagrees', 'csr-n2 SourceDisagrees']);
    scene.api.setMachine('n1', []);
    await scene.pass(0);
    assert.deepEqual(scene.decided, []);
    scene.api.setMachine('n1', ['n1']);
    await scene.pass(0);
    assert.deepEqual(scene.decided, ['approve csr-n1']);
  });

  it('does not approve with a Machine that is gone', async () => {
    await using scene = new Scene();
    scene.api.machineVersions = ['v1beta2'];
    scene.api.setMachine('n1', ['n1']);
    await scene.start();
    scene.api.deleteMachine('n1');
    await scene.pass(0);
    scene.addNode('n1');
    await scene.pass(0);
    assert.deepEqual([scene.decided, scene.held], [[], ['csr-n1 SourceDisagrees']]);
  });

  it('holds every CSR without the API group, and approves within a minute of it', async () => {
    await using scene = new Scene();
    scene.addNode('n1');
    await scene.start();
    await scene.pass(10 * minute);
    assert.deepEqual([scene.decided, scene.held], [[], ['csr-n1 SourceUnavailable']]);
    assert.match(
      scene.failures[0]?.message ?? '',
      /https:\/\/api has no Machines of cluster\.x-k8s\.io/,
    );
    assert.equal(scene.follower.synced, false);
    scene.api.machineVersions = ['v1beta2'];
    scene.api.setMachine('n1', ['n1']);
    await scene.pass(minute);
    assert.deepEqual(scene.decided, ['approve csr-n1']);
    assert.equal(scene.follower.synced, true);
  });

  it('knows no Machine of a version that it cannot read', async () => {
    await using scene = new Scene();
    scene.api.machineVersions = ['v1alpha4'];
    scene.addNode('n1');
    await scene.start();
    assert.deepEqual(scene.held, ['csr-n1 SourceUnavailable']);
  });

  it('changes to a version that the API server serves later', async () => {
    await using scene = new Scene();
    scene.api.machineVersions = ['v1beta1'];
    scene.addNode('n1');
    await scene.start();
    scene.api.machineVersions = ['v1beta2'];
    scene.api.setMachine('n1', ['n1']);
    await scene.pass(minute);
    assert.deepEqual([scene.decided, scene.failures], [['approve csr-n1'], []]);
  });

  it('is unavailable from a failed watch until all Machines are read again', async () => {
    await using scene = new Scene();
    scene.api.machineVersions = ['v1beta2'];
    scene.api.setMachine('n1', ['n1']);
    await scene.start();
    const fault = new AgentError('API_UNREACHABLE', 'connection refused');
    scene.api.fault = (what) => (what === 'watch machines' ? fault : undefined);
    scene.api.endWatches('machines');
    await scene.pass(second);
    scene.addNode('n1');
    await scene.pass(0);
    assert.deepEqual([scene.decided, scene.held], [[], ['csr-n1 SourceUnavailable']]);
    assert.equal(scene.follower.synced, false);
    scene.api.fault = () => undefined;
    await scene.pass(minute);
    assert.deepEqual(scene.decided, ['approve csr-n1']);
    assert.equal(scene.synced, 2);
  });

  it('is unavailable after a 410 until all Machines are read again', async () => {
    await using scene = new Scene();
    scene.api.machineVersions = ['v1beta2'];
    scene.api.setMachine('n1', ['n1']);
    scene.api.setMachine('n2', ['n2']);
    await scene.start();
    let gone = 1;
    scene.api.fault = (what) => {
      if (what !== 'watch machines' || gone === 0) return undefined;
      gone -= 1;
      scene.api.deleteMachine('n2');
      return new AgentError('API_GONE', 'too old resource version');
    };
    // The jitter before the new list: a second.
    scene.api.random = 0.5;
    scene.api.endWatches('machines');
    await scene.pass(second / 2);
    scene.addNode('n1');
    scene.addNode('n2');
    await scene.pass(0);
    assert.deepEqual(scene.decided, []);
    assert.deepEqual(scene.held, ['csr-n1 SourceUnavailable', 'csr-n2 SourceUnavailable']);
    assert.deepEqual([scene.follower.synced, scene.failures], [false, []]);
    await scene.pass(second);
    assert.deepEqual(scene.decided, ['approve csr-n1']);
    assert.equal(scene.held.at(-1), 'csr-n2 SourceDisagrees');
    assert.equal(scene.follower.synced, true);
  });

  it('notices within a minute that the API server does not answer any more', async () => {
    await using scene = new Scene();
    scene.target = { kubeconfig: '/management.conf' };
    scene.management.machineVersions = ['v1beta2'];
    await scene.start();
    assert.equal(scene.follower.synced, true);
    // The watch stays open and silent, as that of a machine without power.
    scene.management.fault = () => new AgentError('API_TIMEOUT', 'no answer');
    await scene.pass(minute);
    assert.equal(scene.follower.synced, false);
  });

  it('names the failure until the Machines have been read', async () => {
    await using scene = new Scene();
    scene.api.machineVersions = ['v1beta2'];
    scene.api.fault = (what) =>
      what === 'watch machines' ? new AgentError('API_FORBIDDEN', 'cannot list') : undefined;
    await scene.start();
    assert.equal(scene.follower.failure?.message, 'cannot list');
    scene.api.fault = () => undefined;
    await scene.pass(minute);
    assert.equal(scene.follower.failure, undefined);
  });

  it('holds while the kubeconfig of the management cluster cannot be read', async () => {
    await using scene = new Scene();
    scene.target = { kubeconfig: '/management.conf' };
    scene.kubeconfigFault = 'KUBECONFIG_MISSING';
    scene.management.machineVersions = ['v1beta1'];
    scene.management.setMachine('n1', ['n1']);
    scene.addNode('n1');
    await scene.start();
    assert.deepEqual(scene.held, ['csr-n1 SourceUnavailable']);
    scene.kubeconfigFault = undefined;
    await scene.pass(minute);
    assert.deepEqual(scene.decided, ['approve csr-n1']);
  });

  it('follows another cluster when the policy names it, and none without the source', async () => {
    await using scene = new Scene();
    scene.api.machineVersions = ['v1beta2'];
    scene.management.machineVersions = ['v1beta2'];
    scene.management.setMachine('n1', ['n1']);
    scene.addNode('n1');
    await scene.start();
    assert.deepEqual(scene.held, ['csr-n1 SourceDisagrees']);
    scene.follower.retarget();
    assert.equal(scene.follower.synced, true);
    scene.target = { kubeconfig: '/management.conf' };
    scene.follower.retarget();
    assert.equal(scene.follower.synced, false);
    await scene.pass(0);
    assert.deepEqual(scene.decided, ['approve csr-n1']);
    assert.deepEqual(scene.connected, [undefined, '/management.conf']);
    scene.target = undefined;
    scene.follower.retarget();
    assert.deepEqual([scene.follower.source, scene.follower.synced], [undefined, undefined]);
    scene.addNode('n2');
    await scene.pass(0);
    assert.deepEqual(scene.decided, ['approve csr-n1', 'approve csr-n2']);
  });

  it('evaluates again what another Node has claimed', async () => {
    await using scene = new Scene();
    scene.api.machineVersions = ['v1beta2'];
    const spec = { providerID: 'test://n1' };
    const addresses = [{ type: 'Hostname', address: 'n1' }];
    scene.api.addNode('older', { status: { addresses } });
    await scene.api.clock.advance(second);
    scene.api.addNode('n1', { spec });
    scene.api.addCsr('csr-n1', 'n1');
    await scene.start();
    assert.deepEqual(scene.held, ['csr-n1 AddressConflict']);
    scene.api.setMachine('n1', ['n1']);
    await scene.pass(0);
    assert.deepEqual(scene.decided, ['approve csr-n1']);
  });
});
