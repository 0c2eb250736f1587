import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdir, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:https';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { TestContext } from 'node:test';
import { parse, stringify } from 'yaml';
import { hasCode } from '../../../src/core/errors.ts';
import { day } from '../../../src/core/instant.ts';
import type { ComponentRestart } from '../../../src/pki/renewal/restart.ts';
import {
  requireRestartable,
  restartComponent,
  withAnnotation,
} from '../../../src/pki/renewal/restart.ts';
import type { Clock } from '../../../src/sys/clock.ts';
import { temporaryDirectory } from '../../store/pairs.ts';
import { fakeProc } from '../../sys/fake-proc.ts';
import { makeCa, makeLeaf } from '../kubeadm-tree.ts';
import { pod } from '../components/manifests.ts';

const scheduler = pod({ name: 'kube-scheduler', command: ['kube-scheduler', '--leader-elect'] });

/** Time passes only in sleep(), ten times as fast, so that a test needs few handshakes. */
class SteppingClock implements Clock {
  #elapsed = 0;
  readonly #meanwhile: (elapsed: number) => Promise<void>;

  constructor(meanwhile: (elapsed: number) => Promise<void> = async () => undefined) {
    this.#meanwhile = meanwhile;
  }

  now(): number {
    return Date.UTC(2026, 10, 28) + this.#elapsed;
  }

  elapsed(): number {
    return this.#elapsed;
  }

  async sleep(ms: number): Promise<void> {
    this.#elapsed += 10 * ms;
    await this.#meanwhile(this.#elapsed);
  }
}

const process = { mounts: 'mnt:[1]', parent: 1, cgroup: '0::/\n' };
const kubelet = { ...process, cmdline: '/usr/bin/kubelet\0' };
const running = { ...process, cmdline: 'kube-scheduler\0--leader-elect\0' };

interface Scene {
  readonly restart: ComponentRestart;
  readonly manifest: string;
  readonly text: string;
  readonly proc: string;
  /** The status code of /healthz. */
  answer: number;
}

/** A manifest, its running process, and the port that answers /healthz. */
async function scene(test: TestContext, text = stringify(scheduler)): Promise<Scene> {
  const directory = await temporaryDirectory(test);
  const manifest = join(directory, 'manifests/kube-scheduler.yaml');
  await mkdir(join(directory, 'manifests'));
  await writeFile(manifest, text, { mode: 0o600 });
  const proc = join(directory, 'proc');
  await mkdir(join(proc, 'self/ns'), { recursive: true });
  await fakeProc(proc, { 7: kubelet, 8: running });
  const validity = { notBefore: Date.now() - day, notAfter: Date.now() + day };
  const ca = await makeCa('localhost-ca@1', validity);
  const leaf = await makeLeaf(ca, {
    ...validity,
    subject: 'CN=localhost@1',
    usages: ['server auth'],
  });
  const found = { manifest, text, proc, answer: 200 };
  const server = createServer({ cert: leaf.pem, key: leaf.keyPem }, (request, response) => {
    response.writeHead(request.url === '/healthz' ? found.answer : 404).end();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  test.after(() => server.close());
  const { port } = server.address() as AddressInfo;
  return Object.assign(found, {
    restart: {
      component: 'kube-scheduler',
      by: { kind: 'manifest', path: manifest },
      health: { host: '127.0.0.1', port },
    } as const,
  });
}

function environment(proc: string, clock: Clock) {
  const { signal } = new AbortController();
  return { clock, signal, proc, copyAttributes: async () => undefined };
}

/** What the kubelet does: it replaces the process when the pod has changed. */
function kubeletOf({ proc, manifest, text }: Scene): (elapsed: number) => Promise<void> {
  let isReplaced = false;
  return async (elapsed) => {
    if (isReplaced || elapsed < 3_000 || (await readFile(manifest, 'utf8')) === text) return;
    isReplaced = true;
    await rm(join(proc, '8'), { recursive: true });
    await fakeProc(proc, { 9: running });
  };
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
    const found = await scene(test);
    const clock = new SteppingClock(kubeletOf(found));
    const took = await restartComponent(found.restart, environment(found.proc, clock));
    assert.equal(took, 5_000);
    const text = await readFile(found.manifest, 'utf8');
    assert.equal(text, withAnnotation(found.text, '2026-11-28T00:00:00.000Z'));
    assert.equal((await stat(found.manifest)).mode & 0o777, 0o600);
    assert.deepEqual(await readdir(join(found.manifest, '..')), ['kube-scheduler.yaml']);
  });

  it('restores the manifest when the kubelet does not start the pod again', async (test) => {
    const found = await scene(test);
    const clock = new SteppingClock();
    await assert.rejects(
      restartComponent(found.restart, environment(found.proc, clock)),
      (error) =>
        hasCode(error, 'COMPONENT_RESTART') &&
        /not healthy 2m after its restart: the previous process still runs/.test(error.message),
    );
    assert.equal(await readFile(found.manifest, 'utf8'), found.text);
  });

  it('restores the manifest when the new process is not healthy', async (test) => {
    const found = await scene(test);
    found.answer = 500;
    const clock = new SteppingClock(kubeletOf(found));
    await assert.rejects(
      restartComponent(found.restart, environment(found.proc, clock)),
      /\/healthz answers 500/,
    );
    assert.equal(await readFile(found.manifest, 'utf8'), found.text);
  });

  it('changes nothing in a manifest that it cannot edit', async (test) => {
    const text = `metadata: &m {name: a}\nother: *m\n--- \nkind: Pod\n`;
    const found = await scene(test, text);
    await assert.rejects(
      restartComponent(found.restart, environment(found.proc, new SteppingClock())),
      (error) => hasCode(error, 'COMPONENT_RESTART') && /by hand/.test(error.remedy ?? ''),
    );
    assert.equal(await readFile(found.manifest, 'utf8'), text);
  });
});

describe('requireRestartable()', () => {
  it('accepts a manifest beside a running kubelet', async (test) => {
    const { restart, proc } = await scene(test);
    await requireRestartable(restart, { proc });
  });

  it('refuses a static pod while the kubelet is not running', async (test) => {
    const { restart, proc } = await scene(test);
    await rm(join(proc, '7'), { recursive: true });
    await assert.rejects(
      requireRestartable(restart, { proc }),
      /kube-scheduler has to be restarted, but the kubelet is not running/,
    );
  });
});
