import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { restartUnits, unitsOf } from '../../../src/trust/control-plane/unit-restart.ts';
import { restartCalls, unitNode } from './step-unit.ts';

describe('restartUnits()', () => {
  it('loads the drop-ins before the restart', async (test) => {
    const { calls, environment } = await unitNode(test);
    await restartUnits([...environment.restarts.values()], environment);
    assert.equal(await calls(), restartCalls);
  });

  it('leaves static pods to the kubelet', async (test) => {
    const { calls, environment, restart } = await unitNode(test);
    await restartUnits([restart], environment);
    assert.equal(await calls(), '');
  });

  it('restarts a unit that is not loaded, and has no counter', async (test) => {
    const { at, environment } = await unitNode(test);
    await writeFile(at('systemctl'), '#!/bin/sh\n[ "$1" != reset-failed ]\n');
    await restartUnits([...environment.restarts.values()], environment);
  });

  it('names the command that systemd refuses', async (test) => {
    const { at, environment } = await unitNode(test);
    await writeFile(at('systemctl'), '#!/bin/sh\necho "Unit is masked." >&2; exit 1\n');
    await assert.rejects(restartUnits([...environment.restarts.values()], environment), {
      code: 'COMPONENT_RESTART',
      message: 'systemctl daemon-reload failed: Unit is masked.',
    });
  });
});

describe('unitsOf()', () => {
  it('has the unit of a task that has its name', async (test) => {
    const { environment, restart } = await unitNode(test);
    const { restarts } = environment;
    assert.deepEqual(unitsOf([{ item: 'kube-scheduler' }, {}], restarts), [...restarts.values()]);
    assert.deepEqual(unitsOf([{ item: 'trusted CAs' }], restarts), []);
    const pods = new Map([[restart.component, restart]]);
    assert.deepEqual(unitsOf([{ item: 'kube-scheduler' }], pods), []);
  });

  it('has the units of etcd and kube-apiserver, which read the CA of etcd when they start', async (test) => {
    const { restart } = await unitNode(test);
    const names = ['etcd', 'kube-apiserver', 'kube-scheduler'] as const;
    const restarts = new Map(
      names.map((component) => {
        const by = { kind: 'unit', unit: `${component}.service` } as const;
        return [component, { ...restart, component, by }];
      }),
    );
    const found = unitsOf([{ item: 'etcd' }], restarts).map(({ component }) => component);
    assert.deepEqual(found, ['etcd', 'kube-apiserver']);
  });
});
