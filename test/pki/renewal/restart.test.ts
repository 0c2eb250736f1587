import assert from 'node:assert/strict';
import { readFile, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { parse, stringify } from 'yaml';
import { hasCode } from '../../../src/core/errors.ts';
import {
  requireRestartable,
  restartComponent,
  withAnnotation,
} from '../../../src/pki/renewal/restart.ts';
import type { Clock } from '../../../src/sys/clock.ts';
import type { FakeNode } from './fake-kubelet.ts';
import { fakeNode, kubeletOf, pids, scheduler, SteppingClock } from './fake-kubelet.ts';

function environment({ proc }: FakeNode, clock: Clock) {
  const { signal } = new AbortController();
  return { clock, signal, proc, copyAttributes: async () => undefined };
}

describe('withAnnotation()', () => {
  const rows = [
    ['with annotations', stringify(scheduler)],
    ['without annotations', 'kind: Pod\nmetadata:\n  # of kubeadm\n  name: a\nspec: {}\n'],
    ['with null annotations', 'kind: Pod\nmetadata:\n  annotations:\n  name: a\n'],
    ['in JSON', JSON.stringify({ kind: 'Pod', metadata: { name: 'a' } })],
    ['with the annotation', withAnnotation(stringify(scheduler), 'before') ?? ''],
  ] as const;
  for (const [what, text] of rows) {
    it(`changes one annotation in a manifest ${what}`, () => {
      const edited = withAnnotation(text, '2026-11-28T00:00:00.000Z') ?? '';
      const expected = parse(text) as { metadata: { annotations?: Record<string, string> | null } };
      expected.metadata.annotations = {
        ...expected.metadata.annotations,
        'nodecertd.io/restarted-at': '2026-11-28T00:00:00.000Z',
      };
      assert.deepEqual(parse(edited), expected);
      const lines = new Set(edited.split('\n'));
      const gone = text.split('\n').filter((line) => !lines.has(line));
      assert.ok(gone.length <= 1, gone.join('\n'));
    });
  }

  it('is undefined for a text without a manifest', () => {
    for (const text of ['', '# nothing', 'null', 'text']) {
      assert.equal(withAnnotation(text, 'now'), undefined, text);
    }
  });
});

describe('restartComponent()', () => {
  it('returns when a new process of the component is healthy', async (test) => {
    const found = await fakeNode(test);
    const clock = new SteppingClock(kubeletOf(found));
    const took = await restartComponent(found.restart, environment(found, clock));
    assert.equal(took, 5_000);
    const text = await readFile(found.manifest, 'utf8');
    assert.equal(text, withAnnotation(found.text, '2026-11-28T00:00:00.000Z'));
    assert.equal((await stat(found.manifest)).mode & 0o777, 0o600);
    assert.deepEqual(await readdir(join(found.manifest, '..')), ['kube-scheduler.yaml']);
  });

  it('restores the manifest when the kubelet does not start the pod again', async (test) => {
    const found = await fakeNode(test);
    const clock = new SteppingClock();
    await assert.rejects(
      restartComponent(found.restart, environment(found, clock)),
      (error) =>
        hasCode(error, 'COMPONENT_RESTART') &&
        /not healthy 2m after its restart: the previous process still runs/.test(error.message),
    );
    assert.equal(await readFile(found.manifest, 'utf8'), found.text);
  });

  it('restores the manifest when the new process is not healthy', async (test) => {
    const found = await fakeNode(test);
    found.answer = 500;
    const clock = new SteppingClock(kubeletOf(found));
    await assert.rejects(
      restartComponent(found.restart, environment(found, clock)),
      /\/healthz answers 500/,
    );
    assert.equal(await readFile(found.manifest, 'utf8'), found.text);
  });

  it('changes nothing in a manifest that it cannot edit', async (test) => {
    const text = `metadata: &m {name: a}\nother: *m\n--- \nkind: Pod\n`;
    const found = await fakeNode(test, text);
    await assert.rejects(restartComponent(found.restart, environment(found, new SteppingClock())), {
      code: 'COMPONENT_RESTART',
      remedy: `Write ${found.manifest} as one YAML document without anchors, tags and aliases, and run this command again`,
    });
    assert.equal(await readFile(found.manifest, 'utf8'), text);
  });
});

describe('requireRestartable()', () => {
  it('accepts a manifest beside a running kubelet', async (test) => {
    const { restart, proc } = await fakeNode(test);
    await requireRestartable(restart, { proc });
  });

  it('refuses a static pod while the kubelet is not running', async (test) => {
    const { restart, proc } = await fakeNode(test);
    await rm(join(proc, pids.kubelet), { recursive: true });
    await assert.rejects(
      requireRestartable(restart, { proc }),
      // `ca-rollover apply` has no option --restart.
      {
        message: 'kube-scheduler has to be restarted, but the kubelet is not running',
        remedy: 'Start the kubelet, and run this command again: systemctl start kubelet',
      },
    );
  });
});
