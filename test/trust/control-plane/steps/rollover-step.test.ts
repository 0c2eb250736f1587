import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { planRolloverStep } from '../../../../src/trust/control-plane/steps/rollover-step.ts';
import { copyOf, sharedTree } from '../../../pki/renewal/renewal-tree.ts';
import { AnnotatedNode } from '../annotated-node.ts';

const tree = sharedTree();
const onWait = (): void => undefined;

describe('planRolloverStep()', () => {
  it('reports after finish that the node has no new CA of etcd, and only once', async (context) => {
    const directories = await copyOf(context, tree);
    await using stored = await AnnotatedNode.start({
      authorities: [],
      leaves: {},
      startedAt: {},
      reportedAt: 0,
      etcdAuthorities: 2,
      etcdNext: 'e'.repeat(16),
    });
    const request = stored.request('etcd', directories);
    const plan = async () =>
      planRolloverStep('finish', request, {
        keyFiles: [],
        dial: false,
        confirmed: {},
        auditLogs: [],
        onWait,
      });
    const [task, ...others] = (await plan()).tasks;
    assert.deepEqual(others, []);
    assert.ok(task?.kind === 'cluster' && !task.isDone);
    await task.run(request.signal);
    const report = stored.reports.at(-1);
    assert.deepEqual([report?.etcdAuthorities, report?.etcdNext], [1, undefined]);
    const [again] = (await plan()).tasks;
    assert.ok(again?.kind === 'cluster' && again.isDone);
  });
});
