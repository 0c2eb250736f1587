import assert from 'node:assert/strict';
import { readFile, readdir, writeFile } from 'node:fs/promises';
import { basename } from 'node:path';
import { describe, it } from 'node:test';
import { readRuns } from '../../../src/store/run-folder.ts';
import { writeManifest } from '../../../src/store/run-manifest.ts';
import type { RunState } from '../../../src/store/run-manifest.ts';
import {
  deleteCopies,
  isRestoredLast,
  previewUndo,
  undoStep,
} from '../../../src/trust/control-plane/undo.ts';
import type { FileTaskSpec, StepNode } from './step-node.ts';
import { stepNode } from './step-node.ts';
import { restartCalls, unitNode } from './step-unit.ts';

const trusted: FileTaskSpec = { name: 'ca.crt', texts: { 'ca.crt': 'old, new' } };
const signing: FileTaskSpec = {
  name: 'signing files',
  texts: { 'ca-signing.crt': 'old', 'ca-unused.crt': undefined },
};

function scheduler(node: StepNode): FileTaskSpec {
  const reads = [node.at('scheduler.conf')];
  return {
    name: 'scheduler.conf',
    texts: { 'scheduler.conf': 'trusts both' },
    restart: { component: 'kube-scheduler', reads },
  };
}

/** The step `trust` in two runs, as after an error in the first one. */
async function trustedNode(node: StepNode): Promise<ReturnType<StepNode['files']>> {
  await node.write('ca-unused.crt', 'of a person');
  const before = await node.files();
  await node.run([signing, trusted]);
  await node.run([signing, trusted, scheduler(node)]);
  return before;
}

const trust = { ca: 'kubernetes', step: 'trust' } as const;

/** As after a crash in the last run. */
async function interrupt(node: StepNode, state: RunState): Promise<void> {
  const [run] = (await readRuns(node.environment.directory)).active.slice(-1);
  assert.ok(run !== undefined);
  await writeManifest({ ...run, manifest: { ...run.manifest, state } });
}

describe('undoStep()', () => {
  it('restores every file as it was before all runs of the step', async (test) => {
    const node = await stepNode(test);
    const before = await trustedNode(node);
    assert.notDeepEqual(await node.files(), before);
    const { restarted } = await undoStep(trust, node.environment);
    assert.deepEqual(await node.files(), before);
    assert.deepEqual(restarted, [{ component: 'kube-scheduler', tookMs: 5_000 }]);
    assert.deepEqual(await readdir(node.environment.directory), []);
  });

  it('restores the manifest of kube-apiserver after the files that it reads', async (test) => {
    const node = await stepNode(test);
    await node.write('server.yaml', 'before');
    await node.run([trusted, { name: 'kube-apiserver', texts: { 'server.yaml': 'restarted' } }]);
    const restored: string[] = [];
    const copyAttributes = async (path: string): Promise<void> => {
      restored.push(basename(path));
    };
    await undoStep(trust, { ...node.environment, isRestoredLast, copyAttributes });
    assert.deepEqual(restored, ['ca.crt', 'server.yaml']);
  });

  it('leaves the files of the step before', async (test) => {
    const node = await stepNode(test);
    await node.run([signing], { step: 'create' });
    const created = await node.files();
    await node.run([trusted, scheduler(node)]);
    await undoStep(trust, node.environment);
    assert.deepEqual(await node.files(), created);
    const [run, ...others] = (await readRuns(node.environment.directory)).active;
    assert.deepEqual([run?.manifest.step, others], ['create', []]);
  });

  for (const state of ['applying', 'reverting'] as const) {
    it(`restores the files of a run that was interrupted while ${state}`, async (test) => {
      const node = await stepNode(test);
      const before = await trustedNode(node);
      await interrupt(node, state);
      await undoStep(trust, node.environment);
      assert.deepEqual(await node.files(), before);
    });
  }

  it('restarts a unit with the previous files', async (test) => {
    const node = await unitNode(test);
    const before = await node.files();
    await node.run([trusted, { ...scheduler(node), name: 'kube-scheduler' }]);
    const { restarted } = await undoStep(trust, node.environment);
    assert.deepEqual(restarted, [{ component: 'kube-scheduler', tookMs: 5_000 }]);
    assert.deepEqual(await node.files(), before);
    assert.equal(await node.calls(), restartCalls.repeat(2));
  });

  it('restarts a unit whose files an interrupted undo has restored', async (test) => {
    const node = await unitNode(test);
    await node.run([{ ...scheduler(node), name: 'kube-scheduler' }]);
    const refuse = '#!/bin/sh\necho "no bus" >&2; exit 1\n';
    const systemctl = await readFile(node.at('systemctl'), 'utf8');
    await writeFile(node.at('systemctl'), refuse);
    await assert.rejects(undoStep(trust, node.environment), /daemon-reload failed: no bus/);
    await writeFile(node.at('systemctl'), systemctl);
    const { restarted } = await undoStep(trust, node.environment);
    assert.equal(restarted[0]?.component, 'kube-scheduler');
    assert.equal(await node.calls(), restartCalls.repeat(2));
    assert.deepEqual(await readdir(node.environment.directory), []);
  });

  it('refuses a step that is not the last one', async (test) => {
    const node = await stepNode(test);
    await node.run([signing], { step: 'create' });
    await node.run([trusted]);
    const before = await node.files();
    await assert.rejects(undoStep({ ca: 'kubernetes', step: 'create' }, node.environment), {
      code: 'USAGE',
      message: 'the last step on this node was trust --ca kubernetes, not create --ca kubernetes',
      remedy: 'Undo that step first: nodecertd ca-rollover apply trust --ca kubernetes --undo',
    });
    assert.deepEqual(await node.files(), before);
  });

  it('refuses the step of another CA', async (test) => {
    const node = await stepNode(test);
    await node.run([signing]);
    await node.run([trusted], { ca: 'etcd' });
    await assert.rejects(undoStep(trust, node.environment), {
      message: 'the last step on this node was trust --ca etcd, not trust --ca kubernetes',
      remedy: 'Undo that step first: nodecertd ca-rollover apply trust --ca etcd --undo',
    });
  });

  it('restores the last step after a complete rollover of another CA', async (test) => {
    const node = await stepNode(test);
    await node.run([trusted], { step: 'finish', ca: 'etcd' });
    const before = await node.files();
    await node.run([signing]);
    await undoStep(trust, node.environment);
    assert.deepEqual(await node.files(), before);
    assert.equal((await readRuns(node.environment.directory)).active.length, 1);
  });

  it('refuses a step before a complete rollover of another CA, until its copies are gone', async (test) => {
    const node = await stepNode(test);
    const before = await node.files();
    await node.run([signing]);
    await node.run([trusted], { step: 'finish', ca: 'etcd' });
    await assert.rejects(undoStep(trust, node.environment), {
      message: 'the last step on this node was finish --ca etcd, not trust --ca kubernetes',
      remedy: /; or keep that step, .* apply finish --ca etcd --old-key destroy$/,
    });
    await deleteCopies(node.environment.directory, 'etcd');
    await undoStep(trust, node.environment);
    await node.write('ca.crt', 'old');
    assert.deepEqual([...(await node.files()).keys()], [...before.keys()]);
  });

  for (const isOther of [false, true]) {
    it(`refuses a node with ${isOther ? 'only the copies of another CA' : 'no copies'}`, async (test) => {
      const node = await stepNode(test);
      if (isOther) await node.run([trusted], { step: 'finish', ca: 'etcd' });
      await assert.rejects(undoStep(trust, node.environment), {
        code: 'USAGE',
        message: 'this node has no copies of a step of ca-rollover apply --ca kubernetes',
        remedy: 'Go back without the copies: nodecertd ca-rollover apply abort --ca kubernetes',
      });
    });
  }

  it('refuses to overwrite a later change', async (test) => {
    const node = await stepNode(test);
    await trustedNode(node);
    await node.write('ca.crt', 'by kubeadm');
    const before = await node.files();
    const laterChanges = { change: 'the step', remedy: 'Restore them by hand' };
    await assert.rejects(undoStep(trust, { ...node.environment, laterChanges }), {
      code: 'FILE_CHANGED',
      message: `these files were changed after the step: ${node.at('ca.crt')}`,
    });
    assert.deepEqual(await node.files(), before);
  });

  it('refuses a file that another program has replaced between two runs', async (test) => {
    const node = await stepNode(test);
    await node.run([signing, trusted]);
    await node.write('ca.crt', 'by kubeadm');
    await node.run([trusted]);
    const before = await node.files();
    await assert.rejects(undoStep(trust, node.environment), {
      code: 'FILE_CHANGED',
      message: `these files were changed between two runs of the step: ${node.at('ca.crt')}`,
      remedy: 'Go back without the copies: nodecertd ca-rollover apply abort --ca kubernetes',
    });
    assert.deepEqual(await node.files(), before);
  });

  it('restores a file that a person has restored between two runs', async (test) => {
    const node = await stepNode(test);
    const before = await node.files();
    await node.run([trusted]);
    await node.write('ca.crt', 'old');
    await node.run([trusted]);
    await undoStep(trust, node.environment);
    assert.deepEqual([...(await node.files()).keys()], [...before.keys()]);
    assert.equal(await node.read('ca.crt'), 'old');
  });

  it('fails after it has restored the files if a component does not start', async (test) => {
    const node = await stepNode(test);
    const before = await trustedNode(node);
    node.canStart = () => false;
    await assert.rejects(undoStep(trust, node.environment), /it is not running/);
    assert.deepEqual(await node.files(), before);
  });
});

describe('previewUndo()', () => {
  it('names files and restarts, and changes nothing', async (test) => {
    const node = await stepNode(test);
    await trustedNode(node);
    const before = await node.files();
    const { runs, files, restarts } = await previewUndo(trust, node.environment);
    assert.equal(runs.length, 2);
    const paths = (isRemoved: boolean): string[] =>
      files.flatMap((file) => (file.isRemoved === isRemoved ? [file.path] : [])).sort();
    const kept = ['ca.crt', 'ca-unused.crt', 'manifests/kube-scheduler.yaml', 'scheduler.conf'];
    assert.deepEqual(paths(true), [node.at('ca-signing.crt')]);
    assert.deepEqual(paths(false), kept.map(node.at).sort());
    assert.deepEqual(restarts, [node.restart]);
    assert.deepEqual(await node.files(), before);
  });
});

describe('deleteCopies()', () => {
  it('leaves no copy of a key', async (test) => {
    const node = await stepNode(test);
    await node.write('ca.key', 'SECRET');
    await node.run([{ name: 'ca.key', texts: { 'ca.key': 'new' } }], { step: 'switch' });
    await node.run([{ name: 'ca.key', texts: { 'ca.key': undefined } }], { step: 'finish' });
    await deleteCopies(node.environment.directory, 'kubernetes');
    const left = await readdir(node.directory, { recursive: true, withFileTypes: true });
    for (const entry of left.filter((found) => found.isFile())) {
      const text = await readFile(`${entry.parentPath}/${entry.name}`, 'utf8');
      assert.ok(!text.includes('SECRET'), entry.name);
    }
    assert.deepEqual(await readdir(node.environment.directory), []);
  });

  it('keeps the copies of another CA', async (test) => {
    const node = await stepNode(test);
    await node.run([signing], { step: 'finish', ca: 'etcd' });
    await node.run([trusted], { step: 'finish' });
    await deleteCopies(node.environment.directory, 'kubernetes');
    const { active } = await readRuns(node.environment.directory);
    assert.deepEqual(
      active.map(({ manifest }) => manifest.ca),
      ['etcd'],
    );
  });
});
