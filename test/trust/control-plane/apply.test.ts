import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import type { TestContext } from 'node:test';
import { describe, it } from 'node:test';
import { AgentError } from '../../../src/core/errors.ts';
import { rolloverDirectory } from '../../../src/pki/renewal/rollover-runs.ts';
import { lockDirectory } from '../../../src/store/directory-lock.ts';
import { readRuns } from '../../../src/store/run-folder.ts';
import { writeManifest } from '../../../src/store/run-manifest.ts';
import { ServerClock } from '../../../src/pki/unattended/server-clock.ts';
import {
  completeInterrupted,
  interruptedStep,
  undoPlan,
} from '../../../src/trust/control-plane/apply.ts';
import type { AppliedStep, ApplyRequest } from '../../../src/trust/control-plane/apply.ts';
import type { ClusterTask } from '../../../src/trust/control-plane/task.ts';
import { systemClock } from '../../../src/sys/clock.ts';
import { ApiServer, clientOf } from '../../kube/support/api-server.ts';
import { handlers, LeaseApi } from '../../kube/support/lease-api.ts';
import type { StepNode } from './step-node.ts';
import { stepNode } from './step-node.ts';

function requestOf(node: StepNode) {
  const kubernetes = node.directory;
  const directories = { kubernetes, certificates: node.at('pki') };
  return { ...node.environment, directories, clock: systemClock };
}

/** A step that was killed between the two files of its second task. */
async function interruptedNode(node: StepNode): Promise<void> {
  const directory = rolloverDirectory({ kubernetes: node.directory });
  const pair = { name: 'pair', texts: { 'ca.crt': 'new', 'ca.key': 'new key' } };
  await node.write('ca.key', 'old key');
  const tasks = [{ name: 'signing files', texts: { 'ca-signing.crt': 'old' } }, pair];
  await node.run(tasks, { directory });
  await node.write('ca.key', 'old key');
  const [run] = (await readRuns(directory)).active;
  assert.ok(run !== undefined);
  await writeManifest({ ...run, manifest: { ...run.manifest, state: 'applying' } });
}

describe('completeInterrupted()', () => {
  it('keeps complete tasks, and restores the files of the others', async (test) => {
    const node = await stepNode(test);
    await interruptedNode(node);
    const request = requestOf(node);
    assert.equal((await interruptedStep(request))?.manifest.step, 'trust');
    await completeInterrupted(request);
    assert.equal(await interruptedStep(request), undefined);
    const names = ['ca-signing.crt', 'ca.crt', 'ca.key'];
    assert.deepEqual(await Promise.all(names.map(node.read)), ['old', 'old', 'old key']);
  });
});

describe('interruptedStep()', () => {
  it('is undefined while another process works on the step', async (test) => {
    const node = await stepNode(test);
    await interruptedNode(node);
    await mkdir(node.at('.nodecertd'));
    await using _ = await lockDirectory(node.at('.nodecertd'));
    assert.equal(await interruptedStep(requestOf(node)), undefined);
  });
});

interface UndoScene {
  readonly node: StepNode;
  readonly undo: (
    run: ClusterTask['run'],
    options?: Pick<ClusterTask, 'isReport'> & Pick<ApplyRequest, 'isRestored'>,
  ) => Promise<AppliedStep>;
}

/** A node that trusts both CAs. */
async function undoScene(test: TestContext): Promise<UndoScene> {
  const node = await stepNode(test);
  const directory = rolloverDirectory({ kubernetes: node.directory });
  await node.run([{ name: 'trusted CAs', texts: { 'ca.crt': 'old, new' } }], { directory });
  const server = await ApiServer.start(handlers(new LeaseApi().handle));
  const client = await clientOf(server);
  test.after(async () => {
    await client[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
  });
  const request = {
    ...requestOf(node),
    client,
    serverClock: new ServerClock(systemClock),
    hostName: 'cp1',
    addresses: new Set<string>(),
    stop: new AbortController().signal,
    onWait: () => undefined,
    onTask: () => undefined,
    deletesCopies: false,
    describe: () => ({}),
  };
  const lists = { restarts: [], gates: [], refusals: [], notes: [], commands: [] };
  const undo: UndoScene['undo'] = (run, { isReport = false, isRestored = false } = {}) => {
    const task = {
      kind: 'cluster',
      name: 'config',
      content: 'without',
      isDone: false,
      isReport,
      run,
    } as const;
    const plan = { step: 'trust', nodeName: 'cp1', tasks: [task], ...lists } as const;
    return undoPlan(async () => plan, { ...request, isRestored });
  };
  return { node, undo };
}

async function unreachable(): Promise<never> {
  throw new AgentError('API_UNREACHABLE', 'no answer');
}

describe('undoPlan()', () => {
  it('keeps the files and copies for a second undo if the cluster fails', async (test) => {
    const { node, undo } = await undoScene(test);
    await assert.rejects(undo(unreachable), { code: 'API_UNREACHABLE' });
    assert.equal(await node.read('ca.crt'), 'old, new');
    const { done } = await undo(async () => undefined);
    assert.deepEqual(done, [{ name: 'config', isChanged: true }]);
    assert.equal(await node.read('ca.crt'), 'old');
  });

  it('reports the restored files', async (test) => {
    const { node, undo } = await undoScene(test);
    let reported = '';
    const report = async (): Promise<void> => void (reported = await node.read('ca.crt'));
    await undo(report, { isReport: true });
    assert.equal(reported, 'old');
  });

  it('changes the cluster after an interrupted undo has restored the files', async (test) => {
    const { node, undo } = await undoScene(test);
    const directory = rolloverDirectory({ kubernetes: node.directory });
    const [run] = (await readRuns(directory)).active;
    assert.ok(run !== undefined);
    await writeManifest({ ...run, manifest: { ...run.manifest, state: 'reverting' } });
    await completeInterrupted(requestOf(node));
    assert.equal(await node.read('ca.crt'), 'old');
    await assert.rejects(
      undo(async () => undefined),
      { code: 'USAGE' },
    );
    const { done } = await undo(async () => undefined, { isRestored: true });
    assert.deepEqual(done, [{ name: 'config', isChanged: true }]);
  });

  it('does not change the cluster if a file has a later change', async (test) => {
    const { node, undo } = await undoScene(test);
    await node.write('ca.crt', 'by kubeadm');
    let isChanged = false;
    const change = async (): Promise<void> => void (isChanged = true);
    await assert.rejects(undo(change), { code: 'FILE_CHANGED' });
    assert.deepEqual([isChanged, await node.read('ca.crt')], [false, 'by kubeadm']);
  });
});
