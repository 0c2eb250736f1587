import { access, constants, stat } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';

/**
 * The absolute path of a program. A name with a slash is already a path; the directories in PATH
 * are searched for any other name. Relative directories in PATH are skipped, like in
 * exec.LookPath of Go, because the working directory must not determine which program runs as
 * root.
 */
export async function findProgram(name: string, path: string): Promise<string | undefined> {
  if (name.includes('/')) return name;
  for (const folder of path.split(':').filter(isAbsolute)) {
    const program = join(folder, name);
    if (await isExecutable(program)) return program;
  }
  return undefined;
}

async function isExecutable(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK);
    return (await stat(path)).isFile();
  } catch {
    return false;
  }
}
