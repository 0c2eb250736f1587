import { execFile } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Child } from './child.ts';
import type { ContainerOptions } from './container-process.ts';
import { firstProcess, removeTraces, startContainer } from './container-process.ts';

export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

const bootPatience = 60_000;
const shutdownPatience = 30_000;

/**
 * A Debian with systemd as its first process, booted by systemd-nspawn in less than a
 * second. Its files are a layer over a root that all containers share; they and every
 * process in it are gone when it is disposed of, or when this process dies.
 *
 * It shares the network of this machine: what listens on loopback here, such as a
 * control plane, is reached from inside, and ports are taken from the same ones.
 */
export class Container implements AsyncDisposable {
  readonly #directory: string;
  readonly #options: ContainerOptions;
  #child: Child;
  #leader = 0;

  private constructor(directory: string, options: ContainerOptions, child: Child) {
    this.#directory = directory;
    this.#options = options;
    this.#child = child;
  }

  static async boot(options: ContainerOptions = {}): Promise<Container> {
    const directory = await mkdtemp(join(tmpdir(), 'nodecertd-container-'));
    for (const name of ['upper', 'work', 'root']) await mkdir(join(directory, name));
    const child = startContainer(directory, options);
    const container = new Container(directory, options, child);
    try {
      await container.#booted();
      return container;
    } catch (error) {
      await container[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Where a file of the container is found from outside. */
  path(inside: string): string {
    return join(`/proc/${this.#leader}/root`, inside);
  }

  async read(inside: string): Promise<string> {
    return readFile(this.path(inside), 'utf8');
  }

  async write(inside: string, text: string, mode = 0o644): Promise<void> {
    await mkdir(dirname(this.path(inside)), { recursive: true });
    await writeFile(this.path(inside), text, { mode });
  }

  /** Copies a file of this machine into a folder of the container; returns where it is there. */
  async take(file: string, folder = '/root'): Promise<string> {
    const inside = join(folder, basename(file));
    await copyFile(file, this.path(inside));
    return inside;
  }

  async has(inside: string): Promise<boolean> {
    // Links are followed in the root of whoever asks, so the question is asked inside.
    return (await this.run('test', '-e', inside)).code === 0;
  }

  /** Runs a program inside, as root, and never rejects because of its exit code. */
  async run(...command: readonly string[]): Promise<Ended> {
    const args = ['--target', String(this.#leader), '--all', '--', ...command];
    return new Promise((resolve) => {
      execFile(
        'nsenter',
        args,
        { env: environment, maxBuffer: 2 ** 26 },
        (error, stdout, stderr) => {
          const code = error === null ? 0 : typeof error.code === 'number' ? error.code : -1;
          resolve({ code, stdout, stderr: code === -1 ? `${stderr}${error?.message}` : stderr });
        },
      );
    });
  }

  /** What a program inside printed. Rejects if it failed, with all that it said. */
  async must(...command: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await this.run(...command);
    if (code === 0) return stdout;
    throw new Error(`${command.join(' ')} ended with ${code}:\n${stdout}${stderr}`);
  }

  /** A property of a unit, such as ActiveState or MainPID. */
  async property(unit: string, name: string): Promise<string> {
    return (await this.must('systemctl', 'show', '--value', `--property=${name}`, unit)).trim();
  }

  /** Everything a unit has logged since the container was booted. */
  async journal(unit: string): Promise<string> {
    return this.must('journalctl', '--boot', '--no-pager', '--output=cat', `--unit=${unit}`);
  }

  /** What a unit has logged as JSON since then; neither what systemd says of it nor what commands print. */
  async logged(unit: string): Promise<readonly Readonly<Record<string, unknown>>[]> {
    const lines = (await this.journal(unit)).split('\n').filter((line) => line.startsWith('{'));
    return lines.map((line) => JSON.parse(line) as Readonly<Record<string, unknown>>);
  }

  /** Waits until a probe gives something. Rejects when that takes too long. */
  async until<Found>(
    what: string,
    probe: () => Promise<Found | undefined>,
    patienceMs = 30_000,
  ): Promise<Found> {
    const end = Date.now() + patienceMs;
    while (Date.now() < end && this.#child.running) {
      const found = await probe();
      if (found !== undefined) return found;
      await delay(50);
    }
    throw this.#child.failure(`was waited for in vain (${what})`);
  }

  /** In order, with the files as they are then; processes get new numbers. */
  async reboot(): Promise<void> {
    await this.#end('reboot');
    await this.#startAgain();
  }

  /** Every process dies at once, as when the machine crashes; what was written is still there. */
  async crash(): Promise<void> {
    await this.#child.stop(0);
    await this.#startAgain();
  }

  /** In order, as one would switch off a machine; what does not end in time is killed. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#end('poweroff');
    await removeTraces(basename(this.#directory));
    await rm(this.#directory, { recursive: true, force: true });
  }

  async #end(how: 'reboot' | 'poweroff'): Promise<void> {
    if (this.#leader !== 0) await this.run('systemctl', how);
    const end = Date.now() + (this.#leader === 0 ? 0 : shutdownPatience);
    while (this.#child.running && Date.now() < end) await delay(50);
    await this.#child.stop(0);
  }

  async #startAgain(): Promise<void> {
    this.#child = startContainer(this.#directory, this.#options);
    await this.#booted();
  }

  async #booted(): Promise<void> {
    this.#leader = await this.until(
      'its first process',
      async () => firstProcess(this.#child.pid),
      bootPatience,
    );
    await this.until(
      'systemd to have started everything',
      async () => {
        const { stdout } = await this.run('systemctl', 'is-system-running');
        return /^(?:running|degraded)$/.test(stdout.trim()) || undefined;
      },
      bootPatience,
    );
  }
}

/** Of a login shell, and nothing of the test's own. */
const environment = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  HOME: '/root',
  LC_ALL: 'C.UTF-8',
  TERM: 'dumb',
  DEBIAN_FRONTEND: 'noninteractive',
};
