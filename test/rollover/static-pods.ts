import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parse } from 'yaml';
import { controlPlaneDirectory } from '../support/programs.ts';
import { until } from '../support/until.ts';

interface Pod {
  readonly text: string;
  readonly process: ChildProcess;
}

/**
 * Starts the programs in a folder of manifests as processes, and restarts one when its manifest has
 * changed, as a kubelet does with its static pods.
 */
export class StaticPods implements AsyncDisposable {
  /** How often each program was started. */
  readonly starts = new Map<string, number>();
  readonly #manifests: string;
  readonly #logs: string;
  readonly #pods = new Map<string, Pod>();
  readonly #stop = new AbortController();
  readonly #loop: Promise<void>;
  /** nodecertd needs a process of this name. */
  readonly #kubelet = spawn('sleep', ['infinity'], { argv0: 'kubelet' });

  constructor(manifests: string, logs: string) {
    this.#manifests = manifests;
    this.#logs = logs;
    this.#loop = this.#run();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#loop;
    this.#kubelet.kill('SIGKILL');
    for (const { process: child } of this.#pods.values()) child.kill('SIGKILL');
  }

  /** The program of a manifest ends and starts again, as after a crash. */
  async restart(name: string): Promise<void> {
    const manifest = join(this.#manifests, `${name}.yaml`);
    const { process: child } = this.#pods.get(manifest) ?? assert.fail(`${name} does not run`);
    const before = this.starts.get(name);
    child.kill('SIGTERM');
    await once(child, 'exit');
    this.#pods.delete(manifest);
    await until(`a start of ${name}`, () => this.starts.get(name) !== before);
  }

  async #run(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      const names = (await readdir(this.#manifests)).filter((name) => /^[^.].*\.yaml$/.test(name));
      await Promise.all(names.map(async (name) => this.#keep(join(this.#manifests, name))));
      await delay(200);
    }
  }

  async #keep(manifest: string): Promise<void> {
    const text = await readFile(manifest, 'utf8');
    const running = this.#pods.get(manifest);
    if (running?.text === text) return;
    if (running !== undefined && running.process.exitCode === null) {
      running.process.kill('SIGTERM');
      await once(running.process, 'exit');
    }
    const { spec } = parse(text) as { spec: { containers: [{ command: string[] }] } };
    const [program = '', ...flags] = spec.containers[0].command;
    const name = basename(program);
    this.#pods.set(manifest, { text, process: startProgram(name, { flags, logs: this.#logs }) });
    this.starts.set(name, (this.starts.get(name) ?? 0) + 1);
  }
}

/** A program of the control plane. @param argv0 hides it from a search for its name */
export function startProgram(
  name: string,
  {
    flags,
    logs,
    argv0 = name,
  }: { readonly flags: readonly string[]; readonly logs: string; readonly argv0?: string },
): ChildProcess {
  const log = openSync(join(logs, `${argv0}.log`), 'a');
  const child = spawn(join(controlPlaneDirectory(), name), flags, {
    argv0,
    stdio: ['ignore', log, log],
  });
  closeSync(log);
  return child;
}
