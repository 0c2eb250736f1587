import assert from 'node:assert/strict';
import { cp, readFile, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { externalFile } from '../../../src/core/trust.ts';
import { unionOf } from '../../../src/core/trust-bundle.ts';
import { applyTrust, completeTrust, rollBackTrust } from '../../../src/trust/node/apply.ts';
import { readAuthorities } from '../../../src/kube/authorities.ts';
import type { TrustFiles } from '../../../src/trust/node/trust-files.ts';
import { systemClock } from '../../../src/sys/clock.ts';
import { snapshot } from '../../adopt/snapshot.ts';
import { nodeFilesAt } from '../../trust/node/node-files.ts';

/** The new CA of a node in a directory. The old one is in its files. */
export const newAuthority = 'next.pem';

const noCheck = async (): Promise<void> => undefined;

export function filesAt(root: string): TrustFiles {
  const { stateDirectory } = nodeFilesAt(root);
  return { stateDirectory, clock: systemClock, version: '0.0.0' };
}

/** Adds the new CA to every place, and moves the CAs of the kubeconfig to a file. */
export async function addAuthority(root: string): Promise<void> {
  await completeTrust(filesAt(root), noCheck);
  const { authorities } = readAuthorities(await readFile(join(root, newAuthority)));
  const { places } = await nodeFilesAt(root).find({ externalize: true });
  const changes = places.map((place) => {
    assert.equal(place.problem, undefined);
    return { place, authorities: unionOf(place.authorities, authorities) };
  });
  await applyTrust(filesAt(root), { changes, verify: noCheck });
}

export async function rollBack(root: string): Promise<void> {
  await rollBackTrust(filesAt(root), { force: false });
}

export type Snapshot = Awaited<ReturnType<typeof snapshot>>;

/** The files that a change may concern. */
export async function snapshotOf(root: string): Promise<Snapshot> {
  return snapshot(root, '/state');
}

/**
 * Without the file to which CAs move, if it has the CAs as before, and without its temporary file:
 * a rollback leaves them, and the next change needs or removes them.
 */
function withoutMoved(found: Snapshot, before: Snapshot): Snapshot {
  const moved = `/pki/${externalFile}`;
  const isAsBefore = found.get(moved) === before.get('/pki/ca.crt');
  const isLeft = (path: string): boolean =>
    (path === moved && isAsBefore) || /^\/pki\/\.nodecertd-\w+\.cluster-ca\.crt$/.test(path);
  return new Map([...found].filter(([path]) => !isLeft(path)));
}

/**
 * What a program finds at every moment of a change: whole files, each with the old CAs, and a
 * kubeconfig whose CA file exists.
 */
export async function requireReadable(root: string, { before, after }: Contents): Promise<void> {
  for (const [path, found] of withoutMoved(await snapshotOf(root), before)) {
    // The next change removes the temporary file of a write that was interrupted.
    if (/\/\.nodecertd-[^/]*$/.test(path)) continue;
    assert.ok(found === before.get(path) || found === after.get(path), path);
  }
  const { places } = await nodeFilesAt(root).find();
  assert.equal(places.length, 2);
  for (const { path, authorities, problem } of places) {
    assert.equal(problem, undefined, path);
    assert.ok(
      authorities.some(({ subject }) => subject === oldSubject),
      path,
    );
  }
}

export interface Contents {
  readonly before: Snapshot;
  readonly after: Snapshot;
}

export const oldSubject = 'CN=old';

/** After a crash, a change and a rollback both lead to the files that they lead to without one. */
export async function requireRecovery(root: string, { before, after }: Contents): Promise<void> {
  await requireReadable(root, { before, after });
  const crashed = `${root}-crashed`;
  await cp(root, crashed, { recursive: true, verbatimSymlinks: true, preserveTimestamps: true });
  await addAuthority(root);
  assert.deepEqual(await snapshotOf(root), after);

  // The manifest has absolute paths, so the rollback needs the same place.
  await rm(root, { recursive: true });
  await rename(crashed, root);
  await rollBack(root);
  assert.deepEqual(withoutMoved(await snapshotOf(root), before), before);
  const names = await readdir(join(root, 'state/trust')).catch(() => []);
  // The others are the lock and the state of the command.
  assert.deepEqual(
    names.filter((name) => /^\d{8}T/.test(name)),
    [],
  );
}
