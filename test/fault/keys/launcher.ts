import { chmod, copyFile, mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const root = join(import.meta.dirname, '../../..');

/** The launcher of the released program, with the sources. @param directory a folder for it */
export async function launcherOfSources(directory: string): Promise<string> {
  const launcher = join(directory, 'nodecertd');
  const main = pathToFileURL(join(root, 'src/main.ts')).href;
  await mkdir(join(directory, 'lib'));
  await symlink(process.execPath, join(directory, 'lib/node'));
  await writeFile(join(directory, 'lib/main.js'), `import('${main}');\n`);
  await copyFile(join(root, 'scripts/nodecertd.sh'), launcher);
  await chmod(launcher, 0o755);
  return launcher;
}
