import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmod, cp, mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import { promisify } from 'node:util';
import { temporaryDirectory } from '../store/pairs.ts';
import { skipWithout } from '../support/programs.ts';

const sources = join(import.meta.dirname, '../../systemd');
const run = promisify(execFile);

describe('the systemd unit', { skip: skipWithout('systemd-analyze') }, () => {
  it('leaves the service exposed by no more than 1.5, as systemd counts', async () => {
    const unit = join(sources, 'nodecertd.service');
    // Tenths: the exit code tells.
    await run('systemd-analyze', ['security', '--offline=true', '--threshold=15', unit]);
  });

  for (const dropIn of [
    'none',
    'before-kubelet.conf',
    'bootstrap-credential.conf',
    'control-plane.conf',
  ]) {
    it(`is one that systemd understands, with drop-in: ${dropIn}`, async (context) => {
      const root = await temporaryDirectory(context);
      const units = join(root, 'usr/lib/systemd/system');
      await mkdir(join(units, 'nodecertd.service.d'), { recursive: true });
      await cp(join(sources, 'nodecertd.service'), join(units, 'nodecertd.service'));
      if (dropIn !== 'none') {
        await cp(join(sources, dropIn), join(units, 'nodecertd.service.d', dropIn));
      }
      for (const program of ['usr/bin/nodecertd', 'bin/sh']) {
        await mkdir(join(root, dirname(program)), { recursive: true });
        await writeFile(join(root, program), '');
        await chmod(join(root, program), 0o755);
      }
      const names = ['sysinit', 'basic', 'shutdown', 'network-online', 'time-sync', 'multi-user'];
      for (const name of names) {
        await writeFile(join(units, `${name}.target`), `[Unit]\nDescription=${name}\n`);
      }
      const args = [`--root=${root}`, '--man=no', 'verify', 'nodecertd.service'];
      const { stderr } = await run('systemd-analyze', args);
      assert.equal(stderr, '');
    });
  }

  it('has a comment in each drop-in that says where it belongs', async () => {
    const dropIns = (await readdir(sources)).filter((name) => name.endsWith('.conf'));
    for (const name of dropIns) {
      const text = await readFile(join(sources, name), 'utf8');
      assert.match(text, /^# .*nodecertd\.service\.d\//, name);
    }
  });
});
