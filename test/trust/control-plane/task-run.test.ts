import assert from 'node:assert/strict';
import { readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { parse } from 'yaml';
import { AgentError } from '../../../src/core/errors.ts';
import { withAnnotation } from '../../../src/pki/renewal/restart.ts';
import { readManifest } from '../../../src/store/run-manifest.ts';
import type { ClusterTask, StepTask } from '../../../src/trust/control-plane/task.ts';
import { pids } from '../../pki/renewal/fake-kubelet.ts';
import type { FileTaskSpec, StepNode } from './step-node.ts';
import { stepNode } from './step-node.ts';
import { restartCalls, unitNode } from './step-unit.ts';

const signing: FileTaskSpec = { name: 'signing files', texts: { 'ca-signing.crt': 'old' } };
const trusted: FileTaskSpec = { name: 'ca.crt', texts: { 'ca.crt': 'old, new' } };

function schedulerTask(node: StepNode, changed: Partial<FileTaskSpec> = {}): FileTaskSpec {
  const reads = [node.at('scheduler.conf')];
  return {
    name: 'scheduler.conf',
    texts: { 'scheduler.conf': 'trusts both' },
    restart: { component: 'kube-scheduler', reads },
    ...changed,
  };
}

/** A task that restarts a unit has the name of the component. */
function unitTask(node: StepNode, changed: Partial<FileTaskSpec> = {}): FileTaskSpec {
  return schedulerTask(node, { name: 'kube-scheduler', ...changed });
}

async function annotationIn(node: StepNode): Promise<string | undefined> {
  const { metadata } = parse(await readFile(node.manifest, 'utf8')) as {
    metadata: { annotations: Record<string, string> };
  };
  return metadata.annotations['nodecertd.io/restarted-at'];
}

async function runsOf(node: StepNode): Promise<string[]> {
  return readdir(node.environment.directory);
}

const failure = (): never => {
  throw new AgentError('API_UNTRUSTED', 'the probe was rejected');
};

describe('runStep()', () => {
  it('refuses two tasks that change one file, before the first change', async (test) => {
    const node = await stepNode(test);
    const second = { ...trusted, name: 'other trust files' };
    await assert.rejects(node.run([signing, trusted, second]), {
      code: 'INTERNAL',
      message: `both ca.crt and other trust files change ${node.at('ca.crt')}`,
    });
    assert.equal(await node.read('ca.crt'), 'old');
    await assert.rejects(node.read('ca-signing.crt'), { code: 'ENOENT' });
  });

  it('changes the files of each task, and keeps the previous files', async (test) => {
    const node = await stepNode(test);
    const seen: string[] = [];
    const onTask = ({ name }: StepTask): void => void seen.push(name);
    const result = await node.run([signing, trusted], { onTask });
    assert.deepEqual(result.done, [
      { name: 'signing files', isChanged: true },
      { name: 'ca.crt', isChanged: true },
    ]);
    assert.deepEqual(seen, ['signing files', 'ca.crt']);
    assert.equal(await node.read('ca-signing.crt'), 'old');
    assert.equal(await node.read('ca.crt'), 'old, new');
    const { folder = '' } = result;
    assert.equal(await readFile(join(folder, 'files', node.at('ca.crt')), 'utf8'), 'old');
    assert.deepEqual(JSON.parse(await readFile(join(folder, 'plan.json'), 'utf8')), {
      kind: 'Plan',
    });
    const { kind, step, state } = (await readManifest(folder)) ?? {};
    assert.deepEqual([kind, step, state], ['RolloverManifest', 'trust', 'applied']);
  });

  it('leaves nothing behind if all files are as they should be', async (test) => {
    const node = await stepNode(test);
    await node.run([signing, trusted, schedulerTask(node)]);
    const files = await node.files();
    const runs = await runsOf(node);
    const result = await node.run([signing, trusted, schedulerTask(node)]);
    assert.deepEqual(
      result.done.map(({ isChanged }) => isChanged),
      [false, false, false],
    );
    assert.equal(result.folder, undefined);
    assert.deepEqual(await node.files(), files);
    assert.deepEqual(await runsOf(node), runs);
  });

  it('removes files of a task after it has replaced the others', async (test) => {
    const node = await stepNode(test);
    await node.write('ca-next.key', 'new key');
    const task = { name: 'files', texts: { 'ca-next.key': undefined, 'ca.crt': 'new' } };
    const { failed } = await node.run([task]);
    assert.equal(failed, undefined);
    assert.equal(await node.read('ca.crt'), 'new');
    await assert.rejects(node.read('ca-next.key'), { code: 'ENOENT' });
  });

  it('restarts the component that reads a changed file only when it starts', async (test) => {
    const node = await stepNode(test);
    const waits: string[] = [];
    const onWait = (reason: string): void => void waits.push(reason);
    const { done } = await node.run([schedulerTask(node)], { onWait });
    assert.deepEqual(done[0]?.restarted, { component: 'kube-scheduler', tookMs: 5_000 });
    assert.ok((await annotationIn(node)) !== undefined);
    assert.deepEqual(waits, ['kube-scheduler: the previous process still runs']);
  });

  it('leaves the restart to a manifest that the task changes', async (test) => {
    const node = await stepNode(test);
    const text = withAnnotation(node.text, 'other flags') ?? '';
    const manifest = { 'manifests/kube-scheduler.yaml': text, 'scheduler.conf': 'trusts both' };
    const { done } = await node.run([schedulerTask(node, { texts: manifest })]);
    assert.equal(done[0]?.restarted?.component, 'kube-scheduler');
    assert.equal(await readFile(node.manifest, 'utf8'), text);
  });

  it('restarts a component that is older than a file that it reads', async (test) => {
    const node = await stepNode(test);
    await node.write('scheduler.conf', 'trusts both');
    const { done } = await node.run([schedulerTask(node)]);
    assert.equal(done[0]?.restarted?.component, 'kube-scheduler');
    assert.equal(await node.read('scheduler.conf'), 'trusts both');
  });

  it('restarts a component only once that does not start with files that are right', async (test) => {
    const node = await stepNode(test);
    await node.write('scheduler.conf', 'trusts both');
    node.answer = 500;
    const { failed, folder = '' } = await node.run([schedulerTask(node)]);
    assert.equal(failed?.failure.code, 'COMPONENT_RESTART');
    assert.match(
      failed.failure.message,
      /not healthy 2m after its restart: \/healthz answers 500$/,
    );
    assert.notEqual(await readFile(node.manifest, 'utf8'), node.text);
    assert.ok(!(await readdir(node.proc)).includes(`${Number(pids.component) + 2}`));
    // An undo of the step restarts it.
    const { changes = [] } = (await readManifest(folder)) ?? {};
    assert.deepEqual(
      changes.map(({ path }) => path),
      [node.manifest],
    );
  });

  it('checks a task whose files are right, because an earlier run may not have', async (test) => {
    const node = await stepNode(test);
    await node.run([trusted]);
    const { done, failed } = await node.run([{ ...trusted, check: async () => failure() }]);
    assert.deepEqual(done, []);
    assert.deepEqual(failed?.name, 'ca.crt');
  });

  it('restores the files of a task whose check fails, and restarts with them', async (test) => {
    const node = await stepNode(test);
    await node.run([signing]);
    const before = await node.files();
    const task = schedulerTask(node, { check: async () => failure() });
    const { done, failed, folder } = await node.run([trusted, task]);
    assert.deepEqual(done, [{ name: 'ca.crt', isChanged: true }]);
    assert.equal(
      failed?.failure.message,
      'the probe was rejected; the previous files of scheduler.conf are in place',
    );
    assert.equal(await node.read('ca.crt'), 'old, new');
    await node.write('ca.crt', 'old');
    assert.deepEqual(await node.files(), before);
    const { changes = [] } = (await readManifest(folder ?? '')) ?? {};
    assert.deepEqual(
      changes.map(({ path }) => path),
      [node.at('ca.crt')],
    );
    // The kubelet has started the component twice: with the new and with the previous files.
    assert.ok((await readdir(node.proc)).includes(`${Number(pids.component) + 2}`));
  });

  it('restores manifest and files if the component does not start', async (test) => {
    const node = await stepNode(test);
    const before = await node.files();
    node.canStart = (text) => text === node.text;
    const { done, failed, folder } = await node.run([schedulerTask(node)]);
    assert.deepEqual([done, folder], [[], undefined]);
    assert.equal(failed?.failure.code, 'COMPONENT_RESTART');
    assert.match(
      failed.failure.message,
      /not healthy 2m after its restart: it is not running; the previous files of scheduler.conf are in place$/,
    );
    assert.deepEqual(await node.files(), before);
    assert.deepEqual(await runsOf(node), []);
    assert.ok((await readdir(node.proc)).includes(`${Number(pids.component) + 2}`));
  });

  it('names a component that does not start with the previous files either', async (test) => {
    const node = await stepNode(test);
    const before = await node.files();
    node.answer = 500;
    const { failed } = await node.run([schedulerTask(node)]);
    assert.match(
      failed?.failure.message ?? '',
      /answers 500; the previous files of scheduler.conf are in place, but kube-scheduler was not healthy/,
    );
    assert.deepEqual(await node.files(), before);
  });

  it('stops before the next task without the lock', async (test) => {
    const node = await stepNode(test);
    let calls = 0;
    const requireLock = (): void => {
      calls += 1;
      if (calls > 1) throw new AgentError('LEASE_LOST', 'cp2 holds it');
    };
    const { done, failed } = await node.run([signing, trusted], { requireLock });
    assert.deepEqual(done, [{ name: 'signing files', isChanged: true }]);
    assert.deepEqual([failed?.name, failed?.failure.code], ['ca.crt', 'LEASE_LOST']);
    assert.equal(await node.read('ca.crt'), 'old');
  });

  it('restores the files of a task that is interrupted during its restart', async (test) => {
    const node = await stepNode(test);
    const before = await node.files();
    const stop = new AbortController();
    const onWait = (): void => stop.abort(new AgentError('ABORTED', 'interrupted'));
    const { failed } = await node.run([schedulerTask(node)], { onWait, signal: stop.signal });
    assert.equal(failed?.failure.code, 'ABORTED');
    assert.deepEqual(await node.files(), before);
  });

  it('changes the cluster between files, unless it is as it should be', async (test) => {
    const node = await stepNode(test);
    const trusts: string[] = [];
    const change = async (): Promise<void> => void trusts.push(await node.read('ca.crt'));
    const info = { kind: 'cluster', name: 'cluster-info', content: 'both CAs' } as const;
    const tasks: ClusterTask[] = [
      { ...info, isDone: false, run: change },
      { ...info, isDone: true, run: change },
    ];
    const { done } = await node.run([trusted, ...tasks]);
    assert.deepEqual(
      done.map(({ isChanged }) => isChanged),
      [true, true, false],
    );
    assert.deepEqual(trusts, ['old, new']);
  });

  const refused: readonly (readonly [string, (node: StepNode) => Promise<object>, RegExp])[] = [
    [
      'the kubelet is not running',
      async ({ proc }) => {
        await rm(join(proc, pids.kubelet), { recursive: true });
        return {};
      },
      /the kubelet is not running/,
    ],
    [
      'nothing starts a component',
      async () => ({ restarts: new Map() }),
      /kube-scheduler has to be restarted, but no manifest and no unit starts it/,
    ],
  ];
  for (const [what, prepare, message] of refused) {
    it(`changes no file if ${what}`, async (test) => {
      const node = await stepNode(test);
      const changed = await prepare(node);
      const before = await node.files();
      await assert.rejects(node.run([trusted, schedulerTask(node)], changed), message);
      assert.deepEqual(await node.files(), before);
    });
  }

  it('makes systemd restart a unit', async (test) => {
    const node = await unitNode(test);
    const { done } = await node.run([unitTask(node)]);
    assert.deepEqual(done[0]?.restarted, { component: 'kube-scheduler', tookMs: 5_000 });
    assert.equal(await node.calls(), restartCalls);
    assert.equal(await readFile(node.manifest, 'utf8'), node.text);
  });

  it('restarts a unit that is older than its files, or has other flags', async (test) => {
    for (const isOutdated of [false, true]) {
      const node = await unitNode(test);
      const reads = isOutdated ? [] : [node.at('scheduler.conf')];
      const restart = { component: 'kube-scheduler', reads, isOutdated } as const;
      const { done, folder } = await node.run([unitTask(node, { texts: {}, restart })]);
      assert.equal(done[0]?.restarted?.component, 'kube-scheduler');
      assert.equal(await node.calls(), restartCalls);
      assert.equal(folder, undefined);
    }
  });

  it('restores the files of a unit that does not start, and restarts it', async (test) => {
    const node = await unitNode(test);
    const before = await node.files();
    node.canStart = (restarts) => restarts !== '1';
    const { failed } = await node.run([unitTask(node)]);
    assert.match(
      failed?.failure.message ?? '',
      /: it is not running; the previous files of kube-scheduler are in place$/,
    );
    assert.deepEqual(await node.files(), before);
    assert.equal(await node.calls(), restartCalls.repeat(2));
  });

  it('does not wait for a unit that systemd starts no more', async (test) => {
    const node = await unitNode(test);
    const before = await node.files();
    node.canStart = (restarts) => restarts !== '1';
    const script = await node.read('systemctl');
    const isFirst = `[ "$(grep -c ^restart ${node.at('systemctl.calls')})" = 1 ]`;
    const show = `case "$1" in show) ${isFirst} && echo ActiveState=failed; exit;; esac`;
    await writeFile(node.at('systemctl'), script.replace('\n', `\n${show}\n`));
    const { failed } = await node.run([unitTask(node)]);
    assert.equal(
      failed?.failure.message,
      'kube-scheduler does not start, and systemd has stopped its attempts; the previous files of kube-scheduler are in place',
    );
    assert.deepEqual(await node.files(), before);
    assert.equal(await node.calls(), restartCalls.repeat(2));
  });

  it('restarts a unit with the previous files after an interruption', async (test) => {
    const node = await unitNode(test);
    const before = await node.files();
    const stop = new AbortController();
    const onWait = (): void => stop.abort(new AgentError('ABORTED', 'interrupted'));
    const { failed } = await node.run([unitTask(node)], { onWait, signal: stop.signal });
    assert.equal(failed?.failure.code, 'ABORTED');
    assert.deepEqual(await node.files(), before);
    assert.equal(await node.calls(), restartCalls.repeat(2));
  });

  it('deletes the copies of an earlier rollover', async (test) => {
    const node = await stepNode(test);
    const finish = { name: 'ca.crt', texts: { 'ca.crt': 'new' } };
    const again = { name: 'ca.crt', texts: { 'ca.crt': 'new, third' } };
    await node.run([trusted]);
    await node.run([finish], { step: 'finish' });
    assert.equal((await runsOf(node)).length, 2);
    const { folder = '' } = await node.run([again]);
    assert.deepEqual(await runsOf(node), [folder.slice(folder.lastIndexOf('/') + 1)]);
  });

  it('keeps the copies of another CA, which have its old key', async (test) => {
    const node = await stepNode(test);
    await node.run([trusted]);
    await node.run([{ name: 'ca.crt', texts: { 'ca.crt': 'new' } }], { step: 'finish' });
    const kept = await runsOf(node);
    await node.run([signing], { step: 'create', ca: 'etcd' });
    assert.deepEqual((await runsOf(node)).slice(0, 2), kept);
    assert.equal((await runsOf(node)).length, 3);
  });
});
