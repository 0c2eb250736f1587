import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { InvalidArgumentError } from 'commander';
import { parseRotation, parseWindow, stopSignal } from '../../src/cli/unattended.ts';
import type { UnattendedRenewal } from '../../src/core/unattended-renewal.ts';
import type { KubeadmTree } from '../pki/renewal/renewal-tree.ts';
import { makeKubeadmTree } from '../pki/renewal/renewal-tree.ts';
import type { Ended } from '../support/doctor.ts';
import { nodecertd } from '../support/doctor.ts';

let root = '';
let tree: KubeadmTree;
before(async () => {
  root = await mkdtemp(join(tmpdir(), 'nodecertd-certs-'));
  tree = await makeKubeadmTree(root);
});
after(async () => rm(root, { recursive: true, force: true }));

function unattended(...args: readonly string[]): Promise<Ended> {
  const { kubernetes } = tree;
  return nodecertd('certs', 'renew', '--unattended', ...args, '--kubernetes-dir', kubernetes);
}

describe('nodecertd certs renew --unattended', () => {
  it('prints a document with an outcome and its exit code', async () => {
    const { code, stdout, stderr } = await unattended('-o', 'json');
    assert.equal(stderr, '');
    const document = JSON.parse(stdout) as UnattendedRenewal;
    assert.equal(document.kind, 'UnattendedRenewal');
    // The clock of a machine for tests may not be synchronized.
    const expected = code === 0 ? ['not-due', undefined] : ['refused', 'CLOCK_UNTRUSTED'];
    assert.deepEqual([document.outcome, document.code], expected);
    assert.equal(typeof document.nextDue?.time, 'string');
  });

  it('prints one line and the next time for people', async () => {
    const { code, stdout } = await unattended('--window', 'Sun 02:00-04:00');
    assert.match(
      stdout,
      code === 0 ? /^No certificate is due\n/ : /^Refused: the clock of .*\n {2}→ /,
    );
  });

  const wrong: readonly (readonly [readonly string[], RegExp])[] = [
    [['apiserver'], /--unattended selects the due certificates: remove the names and --all/],
    [['--all'], /remove the names and --all/],
    [['--dry-run'], /--unattended and --dry-run exclude each other/],
    [['--import', '/tmp'], /--unattended and --import exclude each other/],
    [['--restart', 'never'], /--unattended and --restart never exclude each other/],
    [['--no-verify'], /--unattended and --no-verify exclude each other/],
    [['--window', 'Sunday 02:00-04:00'], /"Sunday" is not a day/],
    [['--rotation', '70-90'], /Use two percentages between 10% and 95%, such as 70%-90%/],
  ];
  for (const [args, words] of wrong) {
    it(`rejects ${args.join(' ')}`, async () => {
      const { code, stdout, stderr } = await unattended(...args);
      assert.deepEqual([code, stdout], [2, '']);
      assert.match(stderr, words);
    });
  }

  it('is needed for --window and --rotation', async () => {
    for (const option of [
      ['--window', '02:00-04:00'],
      ['--rotation', '70%-90%'],
    ]) {
      const { code, stderr } = await nodecertd('certs', 'renew', '--due', '--yes', ...option);
      assert.equal(code, 2);
      assert.match(stderr, /requires --unattended/);
    }
  });
});

describe('stopSignal()', () => {
  it('is aborted by SIGTERM, and a second SIGTERM has no effect', async () => {
    using stop = stopSignal();
    for (let count = 0; count < 2; count += 1) {
      const received = once(process, 'SIGTERM');
      process.kill(process.pid, 'SIGTERM');
      await received;
      assert.ok(stop.signal.aborted);
    }
  });
});

describe('parseRotation()', () => {
  it('reads 70%-90%', () => {
    assert.deepEqual(parseRotation('70%-90%'), { from: 0.7, to: 0.9 });
  });

  for (const text of ['', '70%', '90%-70%', '5%-90%', '70%-96%', '70%-80%-90%', '70%-']) {
    it(`rejects ${JSON.stringify(text)}`, () => {
      assert.throws(() => parseRotation(text), InvalidArgumentError);
    });
  }
});

describe('parseWindow()', () => {
  it('says why a text is not a window', () => {
    assert.throws(() => parseWindow('Sun 02:00-02:00'), /the window ends when it opens\./);
  });
});
