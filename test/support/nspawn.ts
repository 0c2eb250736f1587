import { execFile } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Child } from './child.ts';
import type { ContainerOptions } from './container-process.ts';
import { firstProcess, namePrefix, removeContainer, startContainer } from './container-process.ts';
import { freeze, removeControlGroups, thaw } from './control-groups.ts';
import { scaled } from './machine-speed.ts';

export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

const bootPatience = scaled(60_000);
const shutdownPatience = scaled(30_000);

/**
 * A Debian with systemd as its first process, which systemd-nspawn boots in less than a
 * second. Its files are a layer over a root that all containers share. Disposing of it
 * removes its files and ends its processes; they also end with this process.
 *
 * Usually it shares the network of the host: it can reach a control plane on the host's
 * loopback, and its ports must be free on the host.
 */
export class Container implements AsyncDisposable {
  readonly #directory: string;
  readonly #options: ContainerOptions;
  #child: Child | undefined;
  #leader = 0;

  private constructor(directory: string, options: ContainerOptions) {
    this.#directory = directory;
    this.#options = options;
  }

  static async boot(options: ContainerOptions = {}): Promise<Container> {
    const container = await Container.create(options);
    try {
      await container.start();
      return container;
    } catch (error) {
      await container[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** A container that is switched off. Files can be written to it before it boots. */
  static async create(options: ContainerOptions = {}): Promise<Container> {
    const { parent = tmpdir(), folders = [] } = options;
    const directory = await mkdtemp(join(parent, namePrefix));
    for (const name of ['upper', 'work', 'root']) await mkdir(join(directory, name));
    for (const folder of folders) {
      await mkdir(join(directory, 'folders', folder), { recursive: true });
    }
    return new Container(directory, options);
  }

  get running(): boolean {
    return this.#child?.running === true;
  }

  /** The PID of its first process on the host, or 0 while it is switched off. */
  get leader(): number {
    return this.#leader;
  }

  /** Also the name of its control groups. */
  get name(): string {
    return basename(this.#directory);
  }

  /**
   * The path of a file of the container on the host. While it is switched off, this is
   * the path of a file that it has written itself.
   */
  path(inside: string): string {
    if (this.#leader !== 0) return join(`/proc/${this.#leader}/root`, inside);
    const folders = this.#options.folders ?? [];
    const onHost = folders.some((folder) => inside === folder || inside.startsWith(`${folder}/`));
    return join(this.#directory, onHost ? 'folders' : 'upper', inside);
  }

  async read(inside: string): Promise<string> {
    return readFile(this.path(inside), 'utf8');
  }

  async write(inside: string, text: string, mode = 0o644): Promise<void> {
    await mkdir(dirname(this.path(inside)), { recursive: true });
    await writeFile(this.path(inside), text, { mode });
  }

  /** Copies a file of the host into a folder of the container, and returns its path there. */
  async take(file: string, folder = '/root'): Promise<string> {
    const inside = join(folder, basename(file));
    await copyFile(file, this.path(inside));
    return inside;
  }

  async has(inside: string): Promise<boolean> {
    // Runs inside, because a path on the host would follow links in the host's root.
    return (await this.run('test', '-e', inside)).code === 0;
  }

  /** Runs a program in the container as root. Does not reject when the program fails. */
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

  /** Returns the output of a program in the container. Rejects with all output if it fails. */
  async must(...command: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await this.run(...command);
    if (code === 0) return stdout;
    throw new Error(`${command.join(' ')} ended with ${code}:\n${stdout}${stderr}`);
  }

  /** A property of a unit, such as ActiveState or MainPID. */
  async property(unit: string, name: string): Promise<string> {
    return (await this.must('systemctl', 'show', '--value', `--property=${name}`, unit)).trim();
  }

  /** Everything that a unit has logged since the container booted. */
  async journal(unit: string): Promise<string> {
    return this.must('journalctl', '--boot', '--no-pager', '--output=cat', `--unit=${unit}`);
  }

  /** The JSON log lines of a unit since then, without systemd's messages. */
  async logged(unit: string): Promise<readonly Readonly<Record<string, unknown>>[]> {
    const lines = (await this.journal(unit)).split('\n').filter((line) => line.startsWith('{'));
    return lines.map((line) => JSON.parse(line) as Readonly<Record<string, unknown>>);
  }

  /** Waits until a probe returns a value. Rejects when that takes too long. */
  async until<Found>(
    what: string,
    probe: () => Promise<Found | undefined>,
    patienceMs = scaled(30_000),
  ): Promise<Found> {
    const end = Date.now() + patienceMs;
    while (Date.now() < end && this.running) {
      const found = await probe();
      if (found !== undefined) return found;
      await delay(50);
    }
    const reason = `did not reach this in time: ${what}`;
    throw this.#child?.failure(reason) ?? new Error(`the container ${reason}`);
  }

  /** Boots, and waits until systemd has started everything. */
  async start(): Promise<void> {
    this.#child = startContainer(this.#directory, this.#options);
    const { pid } = this.#child;
    const leader = async (): Promise<number | undefined> => firstProcess(pid);
    this.#leader = await this.until('its first process', leader, bootPatience);
    await this.until(
      'systemd to have started everything',
      async () => {
        const { stdout } = await this.run('systemctl', 'is-system-running');
        return /^(?:running|degraded)$/.test(stdout.trim()) || undefined;
      },
      bootPatience,
    );
  }

  /** Shuts down cleanly, and kills what does not end in time. The files stay. */
  async stop(): Promise<void> {
    await this.#end('poweroff');
  }

  /** Reboots cleanly and keeps the files. Processes get new PIDs. */
  async reboot(): Promise<void> {
    await this.#end('reboot');
    await this.start();
  }

  /** Kills every process at once, like a power failure. The files stay. */
  async kill(): Promise<void> {
    await this.#child?.stop(0);
    this.#leader = 0;
    removeControlGroups(this.name);
  }

  /** Stops every process where it is. Connections stay open, and nothing answers. */
  async pause(): Promise<void> {
    await freeze(this.name);
  }

  resume(): void {
    thaw(this.name);
  }

  /** Shuts down cleanly, and kills what does not end in time. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#end('poweroff');
    removeContainer(this.#directory);
  }

  async #end(how: 'reboot' | 'poweroff'): Promise<void> {
    if (this.#leader !== 0) {
      await this.run('systemctl', how);
      const end = Date.now() + shutdownPatience;
      while (this.running && Date.now() < end) await delay(50);
    }
    await this.kill();
  }
}

/** The environment of a login shell, without the test's own variables. */
const environment = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  HOME: '/root',
  LC_ALL: 'C.UTF-8',
  TERM: 'dumb',
  DEBIAN_FRONTEND: 'noninteractive',
};
