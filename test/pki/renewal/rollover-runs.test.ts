import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { describe, it } from 'node:test';
import { join } from 'node:path';
import {
  requireNoInterruptedRenewal,
  requireNoInterruptedStep,
  rolloverDirectory,
} from '../../../src/pki/renewal/rollover-runs.ts';
import type { Manifest } from '../../../src/store/run-manifest.ts';
import { writeManifest } from '../../../src/store/run-manifest.ts';
import { startRun } from '../../../src/store/run-start.ts';
import { temporaryDirectory } from '../../store/pairs.ts';

interface Folder {
  readonly kubernetes: string;
  readonly start: (state: Manifest['state']) => Promise<void>;
}

async function folder(
  test: TestContext,
  kind: 'RenewalManifest' | 'RolloverManifest',
): Promise<Folder> {
  const kubernetes = await temporaryDirectory(test);
  const isStep = kind === 'RolloverManifest';
  const directory = isStep ? rolloverDirectory({ kubernetes }) : join(kubernetes, '.nodecertd');
  return {
    kubernetes,
    start: async (state) => {
      const run = await startRun({
        directory,
        kind,
        sequence: 1,
        now: () => 0,
        version: '0.0.0',
        ...(isStep && { step: 'switch' }),
        changes: [],
      });
      await writeManifest({ ...run, manifest: { ...run.manifest, state } });
    },
  };
}

const states: readonly (readonly [Manifest['state'], boolean])[] = [
  ['applying', true],
  ['reverting', true],
  ['applied', false],
];

describe('requireNoInterruptedStep()', () => {
  for (const [state, isRefused] of states) {
    it(`${isRefused ? 'refuses' : 'accepts'} a run that is ${state}`, async (test) => {
      const { kubernetes, start } = await folder(test, 'RolloverManifest');
      await start(state);
      const command = 'nodecertd ca-rollover apply switch --ca kubernetes';
      const required = requireNoInterruptedStep({ kubernetes });
      if (!isRefused) return required;
      return assert.rejects(required, {
        code: 'STORE_LOCKED',
        message: `${command} was interrupted, and changes files in ${kubernetes}`,
        remedy: `Complete it: ${command}; or undo it: ${command} --undo`,
      });
    });
  }

  it('accepts a node without runs', async (test) => {
    await requireNoInterruptedStep({ kubernetes: await temporaryDirectory(test) });
  });
});

describe('requireNoInterruptedRenewal()', () => {
  for (const [state, isRefused] of states) {
    it(`${isRefused ? 'refuses' : 'accepts'} a run that is ${state}`, async (test) => {
      const { kubernetes, start } = await folder(test, 'RenewalManifest');
      await start(state);
      const required = requireNoInterruptedRenewal({ kubernetes });
      if (!isRefused) return required;
      return assert.rejects(required, {
        code: 'STORE_LOCKED',
        message: `nodecertd certs renew was interrupted, and changes files in ${kubernetes}`,
      });
    });
  }
});
