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
  for (const name of ['nodecertd.service', 'nodecertd-approver.service']) {
    it(`leaves ${name} exposed by no more than 1.5, as systemd counts`, async () => {
      // Tenths: the exit code tells.
      const limits = ['--offline=true', '--threshold=15'];
      await run('systemd-analyze', ['security', ...limits, join(sources, name)]);
    });
  }

  for (const [name, dropIn] of [
    ['nodecertd.service', 'none'],
    ['nodecertd.service', 'before-kubelet.conf'],
    ['nodecertd.service', 'bootstrap-credential.conf'],
    ['nodecertd.service', 'control-plane.conf'],
    ['nodecertd-approver.service', 'none'],
  ] as const) {
    it(`is one that systemd understands: ${name}, with drop-in: ${dropIn}`, async (context) => {
      const root = await temporaryDirectory(context);
      const units = join(root, 'usr/lib/systemd/system');
      await mkdir(join(units, `${name}.d`), { recursive: true });
      await cp(join(sources, name), join(units, name));
      if (dropIn !== 'none') await cp(join(sources, dropIn), join(units, `${name}.d`, dropIn));
      for (const program of ['usr/bin/nodecertd', 'bin/sh']) {
        await mkdir(join(root, dirname(program)), { recursive: true });
        await writeFile(join(root, program), '');
        await chmod(join(root, program), 0o755);
      }
      const targets = ['sysinit', 'basic', 'shutdown', 'network-online', 'time-sync', 'multi-user'];
      for (const target of targets) {
        await writeFile(join(units, `${target}.target`), `[Unit]\nDescription=${target}\n`);
      }
      const args = [`--root=${root}`, '--man=no', 'verify', name];
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
