import assert from 'node:assert/strict';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { day } from '../../../src/core/instant.ts';
import type { FileTask, StepTask } from '../../../src/trust/control-plane/task.ts';
import { restartedComponents } from '../../../src/trust/control-plane/task-restart.ts';
import { pids, SteppingClock } from '../../pki/renewal/fake-kubelet.ts';
import type { StepNode } from './step-node.ts';
import { stepNode } from './step-node.ts';

function taskOf(node: StepNode, files: FileTask['files'] = []): StepTask {
  return {
    kind: 'files',
    name: 'scheduler.conf',
    files,
    make: () => assert.fail('a plan makes no file'),
    restart: { component: 'kube-scheduler', reads: [node.at('scheduler.conf'), '/nonexistent'] },
  };
}

const tomorrow = new SteppingClock(undefined, Date.now() + day);

describe('restartedComponents()', () => {
  it('has a component whose files change', async (test) => {
    const node = await stepNode(test);
    const task = taskOf(node, [{ path: node.at('scheduler.conf'), content: 'both CAs' }]);
    const { proc } = node;
    assert.deepEqual(await restartedComponents([task], { clock: tomorrow, proc }), [
      'kube-scheduler',
    ]);
  });

  it('has a component that is older than a file that it reads', async (test) => {
    const node = await stepNode(test);
    const { environment } = node;
    assert.deepEqual(await restartedComponents([taskOf(node)], environment), ['kube-scheduler']);
  });

  it('has no component that has started after its files changed', async (test) => {
    const node = await stepNode(test);
    const { proc } = node;
    assert.deepEqual(await restartedComponents([taskOf(node)], { clock: tomorrow, proc }), []);
  });

  it('has a component whose file an earlier task changes', async (test) => {
    const node = await stepNode(test);
    const { proc } = node;
    const path = node.at('scheduler.conf');
    const earlier: StepTask = {
      kind: 'files',
      name: 'trusted CAs',
      files: [{ path, content: 'both CAs' }],
      make: () => assert.fail('a plan makes no file'),
    };
    const facts = { clock: tomorrow, proc };
    assert.deepEqual(await restartedComponents([earlier, taskOf(node)], facts), ['kube-scheduler']);
    assert.deepEqual(await restartedComponents([taskOf(node), earlier], facts), []);
  });

  it('has a component that does not run', async (test) => {
    const node = await stepNode(test);
    await rm(join(node.proc, pids.component), { recursive: true });
    assert.deepEqual(await restartedComponents([taskOf(node)], node.environment), [
      'kube-scheduler',
    ]);
  });
});
