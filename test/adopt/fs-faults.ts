import nodeFs from 'node:fs';
import fs from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';

type Call = (...args: unknown[]) => Promise<unknown>;

/** Makes calls of this process that change the file system fail. */
export class FsFaults {
  #calls = 0;
  #armed: { readonly at: number; readonly code: string; readonly lasting: boolean } | undefined;

  static async install(): Promise<FsFaults> {
    const faults = new FsFaults();
    const handle = await fs.open(import.meta.filename);
    const prototype = Object.getPrototypeOf(handle) as object;
    await handle.close();
    for (const name of ['writeFile', 'chmod', 'sync']) faults.#wrap(prototype, name);
    for (const name of ['mkdir', 'rename', 'unlink', 'chown', 'rm']) faults.#wrap(fs, name);
    faults.#wrap(fs, 'open', (_, flags) => flags === 'wx');
    const { renameSync } = nodeFs;
    nodeFs.renameSync = (...args) => {
      if (faults.#isDue()) throw faults.#error('rename');
      renameSync(...args);
    };
    syncBuiltinESMExports();
    return faults;
  }

  /**
   * Runs the work, in which call number `at` fails, and each later call too if `lasting`.
   * Returns whether the work made that call.
   */
  async during(
    fault: { readonly at: number; readonly code: string; readonly lasting: boolean },
    work: () => Promise<void>,
  ): Promise<boolean> {
    this.#calls = 0;
    this.#armed = fault;
    try {
      await work();
    } finally {
      this.#armed = undefined;
    }
    return this.#calls >= fault.at;
  }

  #wrap(
    holder: object,
    name: string,
    concerns: (...args: unknown[]) => boolean = () => true,
  ): void {
    const functions = holder as Record<string, Call>;
    const original = functions[name] as Call;
    const fail = (): boolean => this.#isDue();
    const error = (): Error => this.#error(name);
    functions[name] = async function wrapped(this: unknown, ...args: unknown[]): Promise<unknown> {
      if (concerns(...args) && fail()) throw error();
      return original.apply(this, args);
    };
  }

  #isDue(): boolean {
    if (this.#armed === undefined) return false;
    this.#calls += 1;
    const { at, lasting } = this.#armed;
    return lasting ? this.#calls >= at : this.#calls === at;
  }

  #error(name: string): Error {
    const code = this.#armed?.code ?? '';
    return Object.assign(new Error(`${code}: made to fail, ${name}`), { code });
  }
}
