import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  chmod,
  chown,
  lstat,
  mkdir,
  readFile,
  readdir,
  rename,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { describe, it } from 'node:test';
import { AgentError } from '../../../src/core/errors.ts';
import { hour } from '../../../src/core/instant.ts';
import { encodeCertificates } from '../../../src/core/pem.ts';
import { unionOf } from '../../../src/core/trust-bundle.ts';
import type { TrustConfig } from '../../../src/core/config.ts';
import type { TrustRun } from '../../../src/trust/node/apply.ts';
import { applyTrust, completeTrust, rollBackTrust } from '../../../src/trust/node/apply.ts';
import { readAuthorities } from '../../../src/kube/authorities.ts';
import type { TrustChange } from '../../../src/trust/node/place-change.ts';
import type { TrustFiles } from '../../../src/trust/node/trust-files.ts';
import { findProgram, skip as skipBecause, skipWithout } from '../../support/programs.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { makeTestAuthority } from './authority.ts';
import type { NodeFiles } from './node-files.ts';
import { kubeconfigText, makeNode } from './node-files.ts';

const old = makeTestAuthority();
const next = makeTestAuthority();
const third = makeTestAuthority();
const both = Buffer.from(encodeCertificates([old.authority, next.authority])).toString();

async function node(context: TestContext): Promise<NodeFiles & { readonly files: TrustFiles }> {
  const made = await makeNode(context, old.pem);
  const { stateDirectory } = made;
  const files = { stateDirectory, clock: new FakeClock(), version: '1.2.3' };
  return { ...made, files };
}

const skipAttributes =
  process.getuid?.() === 0
    ? skipWithout('setfattr', 'getfattr')
    : skipBecause('tests that give files to other users: not root');

function run(program: string, ...args: readonly string[]): string {
  return execFileSync(findProgram(program) ?? program, args, { encoding: 'utf8', stdio: 'pipe' });
}

const noCheck = async (): Promise<void> => undefined;

/** Adds the new CA to every place that is kept. */
async function add(
  { find, files }: Pick<NodeFiles, 'find'> & { readonly files: TrustFiles },
  {
    trust,
    verify = noCheck,
  }: { readonly trust?: Partial<TrustConfig>; readonly verify?: () => Promise<void> } = {},
): Promise<TrustRun | undefined> {
  return applyTrust(files, { changes: await changes({ find }, trust), verify });
}

async function changes(
  { find }: Pick<NodeFiles, 'find'>,
  trust?: Partial<TrustConfig>,
): Promise<TrustChange[]> {
  const { places } = await find(trust);
  return places
    .filter(({ isKept, problem }) => isKept && problem === undefined)
    .map((place) => ({ place, authorities: unionOf(place.authorities, [next.authority]) }));
}

/** nodecertd cannot edit a value with an anchor, because other values may use it. */
function anchored(text: string): string {
  return text.replace(/(certificate-authority-data: )(?=\w{9})/, '$1&ca ');
}

async function failure(): Promise<never> {
  throw new AgentError('API_UNTRUSTED', 'the server serves another CA');
}

async function textsOf(paths: readonly string[]): Promise<string[]> {
  return Promise.all(paths.map((path) => readFile(path, 'utf8')));
}

describe('applyTrust()', () => {
  it('changes only the CA value of a kubeconfig, and PEM files as a whole', async (t) => {
    const made = await node(t);
    const { kubeconfig, caFile } = made;
    const run = await add(made);
    assert.deepEqual(run?.paths, [caFile, kubeconfig]);
    assert.equal(await readFile(caFile, 'utf8'), both);
    assert.equal(await readFile(kubeconfig, 'utf8'), kubeconfigText({ pem: both }));
    assert.equal((await stat(kubeconfig)).mode & 0o777, 0o600);
  });

  it('changes nothing if every place has the CAs', async (t) => {
    const made = await node(t);
    await add(made);
    assert.equal(await add(made), undefined);
    assert.equal((await readdir(join(made.stateDirectory, 'trust'))).length, 1);
  });

  it('writes a file once that a kubeconfig and the kubelet share', async (t) => {
    const made = await node(t);
    const { kubeconfig, caFile } = made;
    await writeFile(kubeconfig, kubeconfigText({ file: caFile }));
    assert.deepEqual((await add(made))?.paths, [caFile]);
    assert.equal(await readFile(kubeconfig, 'utf8'), kubeconfigText({ file: caFile }));
  });

  it('moves embedded CAs to a file that exists before the kubeconfig names it', async (t) => {
    const made = await node(t);
    const { kubeconfig, caFile, certificateDirectory } = made;
    const moved = join(certificateDirectory, 'cluster-ca.crt');
    const run = await add(made, { trust: { externalize: true } });
    assert.deepEqual(run?.paths, [moved, caFile, kubeconfig]);
    assert.equal(await readFile(moved, 'utf8'), both);
    assert.equal((await stat(moved)).mode & 0o777, 0o644);
    const withoutData = kubeconfigText({ pem: old.pem }).replace(
      / *certificate-authority-data: .{9,}\n/,
      '',
    );
    const text = await readFile(kubeconfig, 'utf8');
    assert.equal(text.replace(`    certificate-authority: ${moved}\n`, ''), withoutData);
    assert.deepEqual((await made.find({ externalize: true })).places[0]?.file, moved);
    await rollBackTrust(made.files, { force: false });
    assert.equal(await readFile(kubeconfig, 'utf8'), kubeconfigText({ pem: old.pem }));
    // A kubelet that was started in between opens the file again.
    assert.equal(await readFile(moved, 'utf8'), old.pem);
  });

  it('gives a file that two places share the CAs of both', async (t) => {
    const made = await node(t);
    const shared = join(made.certificateDirectory, 'cluster-ca.crt');
    await writeFile(shared, third.pem);
    const run = await add(made, { trust: { externalize: true, files: [shared] } });
    assert.equal(run?.paths.filter((path) => path === shared).length, 1);
    const { authorities } = readAuthorities(await readFile(shared));
    const found = authorities.map(({ fingerprint }) => fingerprint).toSorted();
    const all = [old, next, third].map(({ authority }) => authority.fingerprint);
    assert.deepEqual(found, all.toSorted());
  });

  it('creates a listed file, and keeps links', async (t) => {
    const made = await node(t);
    const { root, caFile } = made;
    await mkdir(join(root, 'real'));
    await rename(caFile, join(root, 'real/ca.crt'));
    await symlink('../real/ca.crt', caFile);
    const created = join(root, 'new.crt');
    await add(made, { trust: { files: [created] } });
    assert.ok((await lstat(caFile)).isSymbolicLink());
    assert.equal(await readFile(join(root, 'real/ca.crt'), 'utf8'), both);
    assert.equal(await readFile(created, 'utf8'), next.pem);
  });

  it('keeps the mode of a file, and private copies', async (t) => {
    const made = await node(t);
    const { caFile, kubeconfig } = made;
    await chmod(caFile, 0o640);
    const run = await add(made);
    assert.equal((await stat(caFile)).mode & 0o777, 0o640);
    const copy = join(run?.folder ?? '', 'files', kubeconfig);
    assert.equal(await readFile(copy, 'utf8'), kubeconfigText({ pem: old.pem }));
    assert.equal((await stat(run?.folder ?? '')).mode & 0o777, 0o700);
  });

  it(
    'keeps owner and extended attributes, also in a rollback',
    { skip: skipAttributes },
    async (t) => {
      const made = await node(t);
      const { caFile } = made;
      await chown(caFile, 1234, 4321);
      run('setfattr', '-n', 'user.origin', '-v', 'x', caFile);
      const requireSame = async (): Promise<void> => {
        const { uid, gid } = await stat(caFile);
        assert.deepEqual([uid, gid], [1234, 4321]);
        assert.match(run('getfattr', '-n', 'user.origin', caFile), /user\.origin="x"/);
      };
      await add(made);
      await requireSame();
      await rollBackTrust(made.files, { force: false });
      await requireSame();
      assert.equal(await readFile(caFile, 'utf8'), old.pem);
    },
  );

  it('restores every file if the check fails, and keeps no copy', async (t) => {
    const made = await node(t);
    const { kubeconfig, caFile, stateDirectory } = made;
    const before = await textsOf([kubeconfig, caFile]);
    await assert.rejects(add(made, { verify: failure }), {
      code: 'API_UNTRUSTED',
      message: 'the server serves another CA; the previous files are in place',
    });
    assert.deepEqual(await textsOf([kubeconfig, caFile]), before);
    assert.deepEqual(await readdir(join(stateDirectory, 'trust')), []);
  });

  it('leaves a file to the program that changed it during the run', async (t) => {
    const made = await node(t);
    const { kubeconfig, caFile } = made;
    const theirs = kubeconfigText({ pem: next.pem });
    const verify = async (): Promise<never> => {
      await writeFile(kubeconfig, theirs);
      return failure();
    };
    await assert.rejects(add(made, { verify }), { code: 'API_UNTRUSTED' });
    assert.deepEqual(await textsOf([kubeconfig, caFile]), [theirs, old.pem]);
  });

  it('refuses a place that was changed after it was read', async (t) => {
    const made = await node(t);
    const planned = await changes(made);
    await writeFile(made.caFile, next.pem);
    const run = applyTrust(made.files, { changes: planned, verify: noCheck });
    await assert.rejects(run, { code: 'FILE_CHANGED' });
    assert.equal(await readFile(made.kubeconfig, 'utf8'), kubeconfigText({ pem: old.pem }));
  });

  it('reports why a place cannot be read anymore', async (t) => {
    const made = await node(t);
    const planned = await changes(made);
    await rm(made.caFile);
    await mkdir(made.caFile);
    const run = applyTrust(made.files, { changes: planned, verify: noCheck });
    await assert.rejects(run, { code: 'PAIR_MALFORMED', message: /is not a regular file$/ });
  });

  it('refuses a kubeconfig that cannot be edited, before any change', async (t) => {
    const made = await node(t);
    const { kubeconfig, caFile } = made;
    const planned = await changes(made);
    const text = anchored(kubeconfigText({ pem: old.pem }));
    await writeFile(kubeconfig, text);
    const run = applyTrust(made.files, { changes: planned, verify: noCheck });
    await assert.rejects(run, { code: 'KUBECONFIG_UNSUPPORTED' });
    assert.deepEqual(await textsOf([kubeconfig, caFile]), [text, old.pem]);
  });

  it('changes the other places if one kubeconfig cannot be edited', async (t) => {
    const made = await node(t);
    const other = join(made.root, 'agent.conf');
    const text = anchored(kubeconfigText({ pem: old.pem }));
    await writeFile(other, text);
    const run = await add(made, { trust: { kubeconfigs: [other] } });
    assert.deepEqual(run?.paths, [made.caFile, made.kubeconfig]);
    assert.equal(await readFile(other, 'utf8'), text);
  });

  it('keeps the copies of the last three changes', async (t) => {
    const made = await node(t);
    for (let count = 0; count < 5; count += 1) {
      await add(made);
      const { places } = await made.find();
      const changes = places.map((place) => ({ place, authorities: [old.authority] }));
      await applyTrust(made.files, { changes, verify: noCheck });
    }
    assert.equal((await readdir(join(made.stateDirectory, 'trust'))).length, 3);
  });
});

describe('completeTrust()', () => {
  it('does nothing without an interrupted run', async (t) => {
    const made = await node(t);
    assert.equal(await completeTrust(made.files, failure), false);
    await add(made);
    assert.equal(await completeTrust(made.files, failure), false);
    assert.equal(await readFile(made.caFile, 'utf8'), both);
  });

  it('keeps a run that was interrupted after the last file, once it is verified', async (t) => {
    const made = await node(t);
    await interrupt((await add(made))?.folder);
    assert.equal(await completeTrust(made.files, noCheck), true);
    assert.equal(await readFile(made.caFile, 'utf8'), both);
    assert.equal(await completeTrust(made.files, failure), false);
  });

  it('restores the files of such a run if the check fails', async (t) => {
    const made = await node(t);
    await interrupt((await add(made))?.folder);
    await assert.rejects(completeTrust(made.files, failure), { code: 'API_UNTRUSTED' });
    assert.equal(await readFile(made.caFile, 'utf8'), old.pem);
    assert.equal(await readFile(made.kubeconfig, 'utf8'), kubeconfigText({ pem: old.pem }));
  });

  it('restores all files if one was not replaced', async (t) => {
    const made = await node(t);
    await interrupt((await add(made))?.folder);
    await writeFile(made.kubeconfig, kubeconfigText({ pem: old.pem }), { mode: 0o600 });
    assert.equal(await completeTrust(made.files, failure), false);
    assert.equal(await readFile(made.caFile, 'utf8'), old.pem);
    assert.deepEqual(await readdir(join(made.stateDirectory, 'trust')), []);
  });
});

/** The manifest as a process leaves it that is killed before it writes `applied`. */
async function interrupt(folder: string | undefined): Promise<void> {
  const path = join(folder ?? '', 'manifest.json');
  const text = await readFile(path, 'utf8');
  await writeFile(
    path,
    text.replace('"applied"', '"applying"').replace(/,\s*"finishedAt": "[^"]*"/, ''),
  );
}

describe('rollBackTrust()', () => {
  it('restores the files byte for byte, one change at a time', async (t) => {
    const made = await node(t);
    const { kubeconfig, caFile } = made;
    const before = await textsOf([kubeconfig, caFile]);
    await add(made);
    const after = await textsOf([kubeconfig, caFile]);
    const { places } = await made.find();
    const dropped = places.map((place) => ({ place, authorities: [next.authority] }));
    await applyTrust(made.files, { changes: dropped, verify: noCheck });
    assert.deepEqual((await rollBackTrust(made.files, { force: false }))?.paths.length, 2);
    assert.deepEqual(await textsOf([kubeconfig, caFile]), after);
    await rollBackTrust(made.files, { force: false });
    assert.deepEqual(await textsOf([kubeconfig, caFile]), before);
    assert.equal(await rollBackTrust(made.files, { force: false }), undefined);
  });

  it('gives restored files the current time, for a kubelet that has read others', async (t) => {
    const made = await node(t);
    await utimes(made.kubeconfig, 1, 1);
    await add(made);
    await rollBackTrust(made.files, { force: false });
    assert.ok((await stat(made.kubeconfig)).mtimeMs > Date.now() - hour);
  });

  it('refuses to overwrite a later change unless forced', async (t) => {
    const made = await node(t);
    await add(made);
    await writeFile(made.caFile, next.pem);
    await assert.rejects(rollBackTrust(made.files, { force: false }), { code: 'FILE_CHANGED' });
    assert.equal(await readFile(made.kubeconfig, 'utf8'), kubeconfigText({ pem: both }));
    await rollBackTrust(made.files, { force: true });
    assert.equal(await readFile(made.caFile, 'utf8'), old.pem);
  });

  it('removes a file that the change created', async (t) => {
    const made = await node(t);
    const created = join(made.root, 'new.crt');
    await add(made, { trust: { files: [created] } });
    await rollBackTrust(made.files, { force: false });
    await assert.rejects(stat(created), { code: 'ENOENT' });
  });
});
