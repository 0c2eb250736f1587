import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { rolloverDirectory } from '../../../src/pki/renewal/rollover-runs.ts';
import { lockDirectory } from '../../../src/store/directory-lock.ts';
import { readRuns } from '../../../src/store/run-folder.ts';
import { writeManifest } from '../../../src/store/run-manifest.ts';
import { completeInterrupted, interruptedStep } from '../../../src/trust/control-plane/apply.ts';
import { systemClock } from '../../../src/sys/clock.ts';
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
