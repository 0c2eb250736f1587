import { readFileSync } from 'node:fs';
import { chmod, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { temporaryDirectory } from '../store/pairs.ts';

/** A shell script in the place of nodecertd, which writes its arguments to a file each time. */
export class OwnProgram {
  readonly directory: string;
  readonly path: string;
  readonly #log: string;

  private constructor(directory: string) {
    this.directory = directory;
    this.path = join(directory, 'nodecertd');
    this.#log = join(directory, 'calls');
  }

  static async create(context: TestContext, script: string): Promise<OwnProgram> {
    const program = new OwnProgram(await temporaryDirectory(context));
    await writeFile(program.#log, '');
    await program.become(script);
    return program;
  }

  /** Replaces the script. One that runs continues with the previous text. */
  async become(script: string): Promise<void> {
    const next = `${this.path}.new`;
    await writeFile(next, `#!/bin/sh\necho "$@" >> ${this.#log}\n${script}\n`);
    await chmod(next, 0o755);
    await rename(next, this.path);
  }

  /** The arguments of each call. */
  get calls(): readonly string[] {
    return readFileSync(this.#log, 'utf8').split('\n').slice(0, -1);
  }
}
