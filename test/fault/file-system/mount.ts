import { spawnSync } from 'node:child_process';

/** A tmpfs on a directory, until disposed. */
export class Mount implements Disposable {
  readonly #directory: string;

  /** @param options as mount(8) takes them: `size=16k` */
  constructor(directory: string, options: string) {
    this.#directory = directory;
    run('mount', ['-t', 'tmpfs', '-o', `${options},mode=755`, 'tmpfs', directory]);
  }

  /**
   * Covers it with a read-only view of itself. Not a remount: that is refused while
   * the agent has its lock file open for writing.
   */
  cover(): void {
    run('mount', ['--bind', this.#directory, this.#directory]);
    run('mount', ['-o', 'remount,bind,ro', this.#directory]);
  }

  uncover(): void {
    run('umount', ['--lazy', this.#directory]);
  }

  /** Lazily: a process that is about to end may still have a file open. */
  [Symbol.dispose](): void {
    run('umount', ['--lazy', this.#directory]);
  }
}

function run(program: string, args: readonly string[]): void {
  const { status, stderr, error } = spawnSync(program, args, { encoding: 'utf8' });
  if (status === 0) return;
  throw new Error(`${program} ${args.join(' ')}: ${error?.message ?? stderr.trim()}`);
}
