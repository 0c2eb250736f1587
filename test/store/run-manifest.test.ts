import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Manifest } from '../../src/store/run-manifest.ts';
import { readManifest, writeManifest } from '../../src/store/run-manifest.ts';

function manifestWith(backup: string): Manifest {
  const state = { sha256: '0'.repeat(64), mode: '0600', uid: 0, gid: 0 };
  const path = '/etc/kubernetes/admin.conf';
  return {
    apiVersion: 'nodecertd.io/v1alpha1',
    kind: 'RenewalManifest',
    version: '0.1.0',
    sequence: 1,
    state: 'applied',
    startedAt: '2026-11-29T00:00:00.000Z',
    changes: [{ path, existed: true, before: state, after: state, backup }],
  };
}

describe('readManifest()', () => {
  let folder = '';
  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'nodecertd-manifest-'));
  });
  after(() => rm(folder, { recursive: true }));

  it('reads what writeManifest() wrote', async () => {
    const manifest = manifestWith('files/etc/kubernetes/..admin.conf');
    await writeManifest({ folder, manifest });
    assert.deepEqual(await readManifest(folder), manifest);
  });

  for (const backup of ['', '.', '../../etc/passwd', 'files/../../x', '/etc/passwd', 'files//x']) {
    it(`rejects a copy outside the folder: ${JSON.stringify(backup)}`, async () => {
      await writeFile(join(folder, 'manifest.json'), JSON.stringify(manifestWith(backup)));
      await assert.rejects(readManifest(folder), {
        code: 'CONFIG_INVALID',
        message: /a path below the folder/,
      });
    });
  }
});
