import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdir, readFile, readdir, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { hour } from '../../src/core/instant.ts';
import type { AgentState } from '../../src/store/state-file.ts';
import { peekState, readState, writeState } from '../../src/store/state-file.ts';
import { present, temporaryDirectory } from './pairs.ts';

const state: AgentState = {
  pid: 4711,
  startedAt: present,
  metricsAddress: '127.0.0.1:9471',
  certificates: {
    'kubelet-client': { outstanding: [{ csr: 'node-csr-abc', createdAt: present - hour }] },
    'kubelet-server': {
      outstanding: [],
      hooksPending: '4f2a',
      rolledBack: { from: '4f2b', to: '4f2a', count: 2, until: present + hour },
    },
    '/etc/kubernetes': {
      outstanding: [],
      renewed: ['apiserver'],
      reported: { apiserver: '4f2b' },
    },
  },
};

test('readState() returns what writeState() wrote, readable for every user', async (t) => {
  const directory = join(await temporaryDirectory(t), 'state');
  await writeState(directory, state);
  assert.deepEqual(await readState(directory), { state });
  assert.deepEqual(await peekState(directory), state);
  assert.equal((await stat(join(directory, 'state.json'))).mode & 0o7777, 0o644);
  assert.deepEqual(await readdir(directory), ['state.json']);
});

test('readState() is empty without a file', async (t) => {
  const directory = join(await temporaryDirectory(t), 'none');
  assert.deepEqual(await readState(directory), { state: { certificates: {} } });
  assert.equal(await peekState(directory), undefined);
});

for (const [title, text] of [
  ['empty', ''],
  ['cut off', '{"pid": 1, "certif'],
  ['of another shape', '{"certificates": {"a": {"outstanding": [{"csr": 7}]}}}'],
  ['wrong about hooks', '{"certificates": {"a": {"outstanding": [], "hooksPending": 7}}}'],
  [
    'wrong about a rollback',
    '{"certificates": {"a": {"outstanding": [], "rolledBack": {"from": "1", "to": "2", "count": 0, "until": 1}}}}',
  ],
  ['dated after the end of time', '{"startedAt": 8640000000000001, "certificates": {}}'],
  ['longer than any state', `{"certificates": {}, "a": "${'a'.repeat(1024 * 1024)}"}`],
] as const) {
  test(`readState() sets a file aside that is ${title}`, async (t) => {
    const directory = await temporaryDirectory(t);
    const path = join(directory, 'state.json');
    await writeFile(path, text);
    assert.equal(await peekState(directory), undefined);
    const { state: found, setAside } = await readState(directory);
    assert.deepEqual(found, { certificates: {} });
    assert.equal(setAside?.path, `${path}.corrupt`);
    assert.ok(setAside.reason.length > 0 && setAside.reason.length < 600, setAside.reason);
    assert.equal(await readFile(`${path}.corrupt`, 'utf8'), text);
    assert.deepEqual(await readState(directory), { state: { certificates: {} } });
  });
}

test('readState() removes the temporary file of an interrupted write', async (t) => {
  const directory = await temporaryDirectory(t);
  await writeState(directory, state);
  await writeFile(join(directory, '.nodecertd-0011223344556677.state.json'), '{');
  assert.deepEqual(await readState(directory), { state });
  assert.deepEqual(await readdir(directory), ['state.json']);
});

test('readState() removes the temporary file of an interrupted first write', async (t) => {
  const directory = await temporaryDirectory(t);
  await writeFile(join(directory, '.nodecertd-0011223344556677.state.json'), '{');
  assert.deepEqual(await readState(directory), { state: { certificates: {} } });
  assert.deepEqual(await readdir(directory), []);
});

test('readState() ignores a temporary file that it cannot remove', async (t) => {
  const directory = await temporaryDirectory(t);
  await writeState(directory, state);
  // unlink(2) does not remove directories.
  await mkdir(join(directory, '.nodecertd-0011223344556677.state.json'));
  assert.deepEqual(await readState(directory), { state });
});

test('readState() throws on an unreadable file and keeps it', async (t) => {
  const directory = await temporaryDirectory(t);
  // Memory at address 0: every user can open it, and reading it fails.
  await symlink('/proc/self/mem', join(directory, 'state.json'));
  await assert.rejects(readState(directory), { code: 'STORE_IO' });
  assert.deepEqual(await readdir(directory), ['state.json']);
});

test('writeState() accepts calls before the previous one has settled', async (t) => {
  const directory = await temporaryDirectory(t);
  await Promise.all([1, 2, 3, 4].map(async (pid) => writeState(directory, { ...state, pid })));
  const { state: found } = await readState(directory);
  assert.ok([1, 2, 3, 4].includes(found.pid ?? 0));
  assert.deepEqual(await readdir(directory), ['state.json']);
});

for (const [what, make] of [
  ['a pipe', async (path: string) => execFileSync('mkfifo', [path])],
  ['a directory', async (path: string) => mkdir(path)],
  ['a list', async (path: string) => writeFile(path, '[]')],
  ['the state of another program', async (path: string) => writeFile(path, '{"version": 4}')],
] as const) {
  test(`readState() keeps ${what} and names the setting`, async (t) => {
    const directory = await temporaryDirectory(t);
    await make(join(directory, 'state.json'));
    assert.equal(await peekState(directory), undefined);
    await assert.rejects(readState(directory), {
      code: 'STORE_IO',
      message: /state\.json is not a state file of nodecertd$/,
      remedy: /^Set stateDirectory \(--state-dir\)/,
    });
    assert.deepEqual(await readdir(directory), ['state.json']);
  });
}
