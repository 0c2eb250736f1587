import { readFile } from 'node:fs/promises';
import type { Runtime } from './bill-of-materials.ts';
import type { Bundled } from './licences.ts';
import { readBundled } from './licences.ts';

/** The Node that is running this, which is the one that is packaged, as npm has it. */
const packageName = `node-linux-${process.arch}`;
const directory = `.runtime/node_modules/${packageName}`;

export async function runtimeLicence(): Promise<Bundled> {
  // The npm package around it names a licence of its own.
  return { ...(await readBundled(directory)), name: 'Node.js', licence: 'Node.js' };
}

/** @throws if the lockfile does not have it */
export async function readRuntime(): Promise<Runtime> {
  const { packages } = JSON.parse(await readFile('.runtime/package-lock.json', 'utf8')) as {
    readonly packages: Readonly<
      Record<string, { readonly version: string; readonly integrity: string }>
    >;
  };
  const locked = packages[`node_modules/${packageName}`];
  if (locked === undefined || `v${locked.version}` !== process.version) {
    throw new Error(`this is Node ${process.version}, and not the one of .runtime: use make`);
  }
  const libraries = Object.fromEntries(
    Object.entries(process.versions).filter(
      // Without a version nobody can look it up; the others are names of interfaces and data.
      ([name, version]) => version !== '' && !['node', 'modules', 'napi', 'unicode'].includes(name),
    ),
  );
  return { ...locked, packageName, libraries } as Runtime;
}
