import { mkdir, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';

/**
 * Writes the files of a volume as the kubelet does (pkg/volume/util/atomic_writer.go): into a new
 * folder to which the link `..data` then points. The visible names are links through `..data`.
 */
export class PodVolume {
  readonly path: string;
  #generation = 0;

  constructor(path: string) {
    this.path = path;
  }

  async write(files: Readonly<Record<string, string>>): Promise<void> {
    this.#generation += 1;
    const generation = `..2026_${this.#generation}`;
    for (const [name, text] of Object.entries(files)) {
      const file = join(this.path, generation, name);
      await mkdir(dirname(file), { recursive: true });
      await writeFile(file, text);
    }
    await symlink(generation, join(this.path, '..data_tmp'));
    await rename(join(this.path, '..data_tmp'), join(this.path, '..data'));
    for (const name of Object.keys(files)) {
      if (this.#generation === 1) await symlink(join('..data', name), join(this.path, name));
    }
    await rm(join(this.path, `..2026_${this.#generation - 1}`), { recursive: true, force: true });
  }
}
