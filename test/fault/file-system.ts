import { NodeTemplate } from './crash/node-template.ts';
import type { FaultFamily } from './family.ts';
import { besideKubelet } from './file-system/beside-kubelet.ts';
import { play } from './file-system/scene.ts';
import { diskScenarios, handScenarios } from './file-system/scenarios.ts';

/** Faults of disks, people and other programs on the files of a running agent. */
export const fileSystem: FaultFamily = {
  name: 'file-system',
  needs: ['root', 'go-programs'],
  async *run({ thorough, signal, progress }) {
    await using template = await NodeTemplate.create();
    for (const scenario of [...diskScenarios, ...handScenarios]) {
      signal.throwIfAborted();
      if (!thorough && !quick.has(scenario)) continue;
      progress(scenario.fault);
      yield await play(template, scenario);
    }
    if (!thorough) return;
    progress('client-go in the same directory');
    yield await besideKubelet();
  },
};

/** The end-to-end scenarios cover some of the others. */
const quick = new Set([...diskScenarios.slice(1), ...handScenarios.slice(1, 5)]);
