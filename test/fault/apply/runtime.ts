import { mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
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
    this.#kubernetes = join(root, 'etc/kubernetes');
  }

  /** The folder in the form of /proc. */
  get proc(): string {
    return this.#proc;
  }

  /** Starts the kubelet and both components. */
  boot(): void {
    mkdirSync(join(this.#proc, 'self/ns'), { recursive: true });
    writeFileSync(join(this.#proc, 'uptime'), '100.00 1.00\n');
    this.#start(10, 'kubelet');
    for (const [index, name] of components.entries()) this.#startPod(index + 11, name);
  }

  /** Replaces the process of each component whose manifest has changed. */
  reconcile(): void {
    for (const { pid, name, manifest } of this.#pods()) {
      if (manifest === this.#text(`manifests/${name}.yaml`)) continue;
      rmSync(join(this.#proc, String(pid)), { recursive: true });
      this.#startPod(pid + components.length, name);
    }
  }

  /** The components that run with another manifest or kubeconfig than those on disk. */
  outdated(): string[] {
    return this.#pods().flatMap(({ name, manifest, kubeconfig }) =>
      manifest === this.#text(`manifests/${name}.yaml`) &&
      kubeconfig === this.#text(kubeconfigs[name])
        ? []
        : [name],
    );
  }

  #pods(): Pod[] {
    return readdirSync(this.#proc).flatMap((pid) => {
      const found = this.#read(join(pid, 'cmdline'))?.split('\0')[0];
      const name = components.find((component) => component === found);
      if (name === undefined) return [];
      const manifest = this.#read(join(pid, 'manifest'));
      return [{ pid: Number(pid), name, manifest, kubeconfig: this.#read(join(pid, 'loaded')) }];
    });
  }

  #startPod(pid: number, name: (typeof components)[number]): void {
    this.#start(pid, name);
    writeFileSync(join(this.#proc, `${pid}/manifest`), this.#text(`manifests/${name}.yaml`));
    writeFileSync(join(this.#proc, `${pid}/loaded`), this.#text(kubeconfigs[name]));
  }

  #start(pid: number, program: string): void {
    const folder = join(this.#proc, String(pid));
    mkdirSync(join(folder, 'ns'), { recursive: true });
    for (const name of ['mnt', 'net']) symlinkSync(`${name}:[1]`, join(folder, 'ns', name));
    writeFileSync(join(folder, 'cmdline'), `${program}\0`);
    writeFileSync(join(folder, 'cgroup'), '0::/\n');
    const fields = ['S', 1, ...Array.from({ length: 17 }, () => 0), 10_000];
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
  readonly kubeconfig: string | undefined;
}

const components = ['kube-controller-manager', 'kube-scheduler'] as const;

const kubeconfigs = {
  'kube-controller-manager': 'controller-manager.conf',
  'kube-scheduler': 'scheduler.conf',
} as const;

/** Time passes only in sleep(), in which the kubelet does its work. */
export function clockOf(runtime: Runtime): Clock {
  const start = Date.now();
  let elapsed = 0;
  return {
    now: () => start + elapsed,
    elapsed: () => elapsed,
    sleep: async (ms, signal) => {
      signal.throwIfAborted();
      elapsed += ms;
      runtime.reconcile();
    },
  };
}
