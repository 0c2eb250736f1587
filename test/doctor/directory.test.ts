import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { DirectoryFacts } from '../../src/doctor/directory.ts';
import { directoryFindings, inspectDirectory } from '../../src/doctor/directory.ts';
import { agentConfig } from '../keeper/fixtures.ts';
import { tmpfsDirectory } from '../store/mounts.ts';
import { temporaryDirectory } from '../store/pairs.ts';
import { summaryOf, textOf } from './findings.ts';

const healthy: DirectoryFacts = {
  path: '/var/lib/kubelet/pki',
  kind: 'directory',
  mode: 0o755,
  owner: 0,
  user: 0,
  writing: 'possible',
  freeBytes: 1e9,
  freeInodes: 1e6,
  acceptVolatile: false,
};
const volatile = { code: 'STORE_VOLATILE', message: 'it is on a tmpfs', remedy: 'move' } as const;

describe('directoryFindings()', () => {
  const rows: readonly (readonly [string, Partial<DirectoryFacts>, readonly string[]])[] = [
    ['a directory on a disk', {}, ['ok certificate-directory']],
    [
      'a directory that does not exist yet',
      { kind: 'missing', mode: 0 },
      ['info certificate-directory'],
    ],
    ['a file in its place', { kind: 'other' }, ['error certificate-directory-invalid']],
    ['a tmpfs', { volatile }, ['error certificate-directory-volatile']],
    [
      'an accepted tmpfs',
      { volatile, acceptVolatile: true },
      ['info certificate-directory-volatile'],
    ],
    ['a group-writable directory', { mode: 0o775 }, ['warning certificate-directory-permissions']],
    [
      'a directory of another user',
      { mode: 0o775, owner: 7 },
      ['error certificate-directory-permissions'],
    ],
    ['a world-writable directory', { mode: 0o1777 }, ['error certificate-directory-permissions']],
    ['a read-only mount', { writing: 'read-only' }, ['error certificate-directory-unwritable']],
    [
      'denied write access for root',
      { writing: 'denied' },
      ['error certificate-directory-unwritable'],
    ],
    [
      'denied write access for another user',
      { writing: 'denied', user: 1000 },
      ['info certificate-directory-unwritable'],
    ],
    ['a full disk', { freeBytes: 4096 }, ['error certificate-directory-full']],
    ['a file system without free inodes', { freeInodes: 0 }, ['error certificate-directory-full']],
    [
      'two problems at once',
      { volatile, freeBytes: 0 },
      ['error certificate-directory-volatile', 'error certificate-directory-full'],
    ],
  ];
  for (const [name, changes, expected] of rows) {
    it(`finds ${expected.join(' and ')} for ${name}`, () => {
      assert.deepEqual(summaryOf(directoryFindings({ ...healthy, ...changes })), expected);
    });
  }
});

describe('inspectDirectory()', () => {
  it('inspects an existing directory and the place of a missing one', async (context) => {
    const directory = await temporaryDirectory(context);
    const config = agentConfig(directory);
    const missing = await inspectDirectory(config);
    assert.equal(missing.kind, 'missing');
    assert.ok(missing.freeBytes > 0 && missing.freeInodes > 0);
    await mkdir(config.certificateDirectory);
    await chmod(config.certificateDirectory, 0o775);
    const { kind, mode, writing } = await inspectDirectory(config);
    assert.deepEqual([kind, mode, writing], ['directory', 0o775, 'possible']);
  });

  it('recognizes a file', async (context) => {
    const config = agentConfig(await temporaryDirectory(context));
    await writeFile(config.certificateDirectory, '');
    assert.equal((await inspectDirectory(config)).kind, 'other');
  });

  it('recognizes a tmpfs, low space, and a read-only mount', async (context) => {
    const mounted = await tmpfsDirectory(context);
    if (mounted === undefined) return;
    const config = { ...agentConfig('/nowhere'), certificateDirectory: join(mounted, 'pki') };
    const facts = await inspectDirectory(config);
    assert.equal(facts.volatile?.code, 'STORE_VOLATILE');
    assert.ok(facts.freeBytes <= 16_384);
    assert.equal(spawnSync('mount', ['-o', 'remount,ro', mounted]).status, 0);
    const after = await inspectDirectory(config);
    assert.equal(after.writing, 'read-only');
    assert.match(textOf(directoryFindings(after)), /mounted read-only.*\n.*\n.*remount,rw/);
  });
});
