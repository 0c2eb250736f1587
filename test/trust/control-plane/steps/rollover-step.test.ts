import assert from 'node:assert/strict';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { json } from 'node:stream/consumers';
import { describe, it } from 'node:test';
import {
  controlPlaneAnnotationKey,
  formatControlPlaneAnnotation,
  parseControlPlaneAnnotation,
} from '../../../../src/core/control-plane-annotation.ts';
import { systemClock } from '../../../../src/sys/clock.ts';
import { Tree } from '../../../../src/sys/tree.ts';
import { planRolloverStep } from '../../../../src/trust/control-plane/steps/rollover-step.ts';
import { ApiServer, clientOf, sendJson } from '../../../kube/support/api-server.ts';
import { copyOf, sharedTree } from '../../../pki/renewal/renewal-tree.ts';

const tree = sharedTree();
const onWait = (): void => undefined;

describe('planRolloverStep()', () => {
  it('reports after finish that the node has no new CA of etcd, and only once', async (context) => {
    const directories = await copyOf(context, tree);
    let annotation = formatControlPlaneAnnotation({
      authorities: [],
      leaves: {},
      startedAt: {},
      reportedAt: 0,
      etcdAuthorities: 2,
      etcdNext: 'e'.repeat(16),
    });
    const node = () => ({
      metadata: {
        name: 'cp1',
        annotations: { [controlPlaneAnnotationKey]: annotation } as Record<string, string>,
      },
    });
    const patch = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
      const { metadata } = (await json(request)) as ReturnType<typeof node>;
      annotation = metadata.annotations[controlPlaneAnnotationKey] ?? '';
      sendJson(response, node());
    };
    await using server = await ApiServer.start((request, response) => {
      if (request.method === 'PATCH') void patch(request, response);
      else sendJson(response, { items: [node()] });
    });
    await using client = await clientOf(server);
    const { signal } = new AbortController();
    const request = {
      ca: 'etcd',
      client,
      hostName: 'cp1',
      addresses: new Set<string>(),
      tree: new Tree('/'),
      directories,
      clock: systemClock,
      version: '0.0.0',
      signal,
    } as const;
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
    await task.run(signal);
    const report = parseControlPlaneAnnotation(annotation);
    assert.deepEqual([report?.etcdAuthorities, report?.etcdNext], [1, undefined]);
    const [again] = (await plan()).tasks;
    assert.ok(again?.kind === 'cluster' && again.isDone);
  });
});
