import { spawnSync } from 'node:child_process';

/** A tmpfs on a folder, until it is disposed of. */
export class Mount implements Disposable {
  readonly #directory: string;

  /** @param options of mount(8), such as `size=16k` */
  constructor(directory: string, options: string) {
    this.#directory = directory;
    run('mount', ['-t', 'tmpfs', '-o', `${options},mode=755`, 'tmpfs', directory]);
  }

  /**
   * Covers the folder with a read-only bind mount. The kernel refuses to remount it
   * read-only while the agent has its lock file open for writing.
   */
  cover(): void {
    run('mount', ['--bind', this.#directory, this.#directory]);
    run('mount', ['-o', 'remount,bind,ro', this.#directory]);
  }

  uncover(): void {
    run('umount', ['--lazy', this.#directory]);
  }

  /** Unmounts lazily, because an ending process may still have a file open. */
  [Symbol.dispose](): void {
    run('umount', ['--lazy', this.#directory]);
  }
}

function run(program: string, args: readonly string[]): void {
  const { status, stderr, error } = spawnSync(program, args, { encoding: 'utf8' });
  if (status === 0) return;
  throw new Error(`${program} ${args.join(' ')}: ${error?.message ?? stderr.trim()}`);
}
