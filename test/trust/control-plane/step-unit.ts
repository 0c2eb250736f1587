import { readFile, writeFile } from 'node:fs/promises';
import type { TestContext } from 'node:test';
import { replacerOf, SteppingClock } from '../../pki/renewal/fake-kubelet.ts';
import type { StepEnvironment } from '../../../src/trust/control-plane/task-run.ts';
import { restartUnits, unitsOf } from '../../../src/trust/control-plane/unit-restart.ts';
import type { StepNode } from './step-node.ts';
import { stepNode } from './step-node.ts';

/** The same node with kube-scheduler as a unit. */
export interface UnitNode extends StepNode {
  /** The commands that systemctl was run with. */
  readonly calls: () => Promise<string>;
}

export const restartCalls = [
  'daemon-reload',
  'reset-failed kube-scheduler.service',
  'restart --no-block kube-scheduler.service',
  '',
].join('\n');

export async function unitNode(test: TestContext): Promise<UnitNode> {
  const node = await stepNode(test);
  const log = node.at('systemctl.calls');
  const systemctl = node.at('systemctl');
  await writeFile(log, '');
  await writeFile(systemctl, `#!/bin/sh\n[ "$1" = show ] || echo "$@" >> ${log}\n`, {
    mode: 0o755,
  });
  const calls = async (): Promise<string> => readFile(log, 'utf8');
  // Also counts a restart that has no effect, like that of a unit that does not start.
  const restarts = async (): Promise<string> =>
    `${(await calls()).split('\n').filter((line) => line.startsWith('restart ')).length}`;
  const by = { kind: 'unit', unit: 'kube-scheduler.service' } as const;
  const restart = { ...node.restart, by };
  const units = new Map([[restart.component, restart]]);
  const environment: StepEnvironment = {
    ...node.environment,
    systemctl,
    restarts: units,
    clock: new SteppingClock(replacerOf(node, '0', restarts), Date.now()),
    onRestored: (files) => restartUnits(unitsOf(files, units), { systemctl }),
  };
  const { run: runPods, files: allFiles } = node;
  const run: StepNode['run'] = (specs, changed = {}) =>
    runPods(specs, { ...environment, ...changed });
  const files: StepNode['files'] = async () =>
    new Map([...(await allFiles())].filter(([path]) => !path.includes('systemctl')));
  return Object.assign(node, { environment, run, files, calls });
}
