import {
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '../../../src/sys/clock.ts';

/**
 * The kubelet and the processes of static pods, in a folder with the form of /proc. All calls are
 * synchronous, so that they are on the main thread, and no fault reaches them.
 */
export class Runtime {
  readonly #proc: string;
  readonly #kubernetes: string;

  constructor(root: string) {
    this.#proc = join(root, 'proc');
    // Another path than that of the step, so that strace can tell their calls apart.
    this.#kubernetes = join('/proc/self/root', root, 'etc/kubernetes');
  }

  /** The folder in the form of /proc. */
  get proc(): string {
    return this.#proc;
  }

  /** Starts the kubelet and the components, and waits until each later change of a file is later than their start. */
  boot(): void {
    mkdirSync(join(this.#proc, 'self/ns'), { recursive: true });
    symlinkSync('/proc/uptime', join(this.#proc, 'uptime'));
    this.#start(10, 'kubelet');
    for (const [index, name] of components.entries()) this.#startPod(index + 11, name);
    const started = startTicks();
    while (uptimeTicks() <= started) Atomics.wait(pause, 0, 0, 5);
  }

  /** Replaces the process of each component whose manifest has changed. */
  reconcile(): void {
    for (const { pid, name, manifest } of this.#pods()) {
      if (manifest === this.#text(`manifests/${name}.yaml`)) continue;
      renameSync(join(this.#proc, String(pid)), join(this.#proc, `ended-${pid}`));
      this.#startPod(pid + components.length, name);
    }
  }

  /** The components that run with another manifest or other files than those on disk. */
  outdated(): string[] {
    return this.#pods().flatMap(({ name, manifest, loaded }) =>
      manifest === this.#text(`manifests/${name}.yaml`) &&
      inAnyOrder(loaded) === inAnyOrder(this.#text(readAtStart[name]))
        ? []
        : [name],
    );
  }

  #pods(): Pod[] {
    const pids = readdirSync(this.#proc).filter((name) => /^\d+$/.test(name));
    return pids.flatMap((pid) => {
      const found = this.#read(join(pid, 'cmdline'))?.split('\0')[0];
      const name = components.find((component) => component === found);
      if (name === undefined) return [];
      const manifest = this.#read(join(pid, 'manifest'));
      return [{ pid: Number(pid), name, manifest, loaded: this.#read(join(pid, 'loaded')) }];
    });
  }

  #startPod(pid: number, name: (typeof components)[number]): void {
    this.#start(pid, name);
    writeFileSync(join(this.#proc, `${pid}/manifest`), this.#text(`manifests/${name}.yaml`));
    writeFileSync(join(this.#proc, `${pid}/loaded`), this.#text(readAtStart[name]));
  }

  #start(pid: number, program: string): void {
    const folder = join(this.#proc, String(pid));
    mkdirSync(join(folder, 'ns'), { recursive: true });
    for (const name of ['mnt', 'net']) symlinkSync(`${name}:[1]`, join(folder, 'ns', name));
    writeFileSync(join(folder, 'cmdline'), `${program}\0`);
    writeFileSync(join(folder, 'cgroup'), '0::/\n');
    const fields = ['S', 1, ...Array.from({ length: 17 }, () => 0), startTicks()];
    writeFileSync(join(folder, 'stat'), `${pid} (a) ${fields.join(' ')} 0\n`);
  }

  #read(name: string): string | undefined {
    try {
      return readFileSync(join(this.#proc, name), 'utf8');
    } catch {
      return undefined;
    }
  }

  #text(name: string): string {
    return readFileSync(join(this.#kubernetes, name), 'utf8');
  }
}

interface Pod {
  readonly pid: number;
  readonly name: (typeof components)[number];
  /** As they were when the process started. */
  readonly manifest: string | undefined;
  readonly loaded: string | undefined;
}

/** What a component reads only when it starts. */
const readAtStart = {
  'kube-controller-manager': 'controller-manager.conf',
  'kube-scheduler': 'scheduler.conf',
  etcd: 'pki/etcd/ca.crt',
  'kube-apiserver': 'pki/etcd/ca.crt',
} as const;

/** The order of CAs means nothing to a component. */
function inAnyOrder(text = ''): string {
  return text
    .split(/(?<=-----END CERTIFICATE-----\n)/)
    .sort()
    .join('');
}

const components = Object.keys(readAtStart) as (keyof typeof readAtStart)[];

/** In hundredths of a second after the boot. Not before the last change of a file. */
function startTicks(): number {
  return uptimeTicks() + 2;
}

function uptimeTicks(): number {
  return Math.ceil(Number(readFileSync('/proc/uptime', 'utf8').split(' ')[0]) * 100);
}

const pause = new Int32Array(new SharedArrayBuffer(4));

/** A wait takes no time, and the kubelet does its work in it. */
export function clockOf(runtime: Runtime): Clock {
  let elapsed = 0;
  return {
    now: () => Date.now(),
    elapsed: () => elapsed,
    sleep: async (ms, signal) => {
      signal.throwIfAborted();
      elapsed += ms;
      runtime.reconcile();
    },
  };
}
