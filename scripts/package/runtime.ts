import { readFile } from 'node:fs/promises';
import type { Runtime } from './bill-of-materials.ts';
import type { Bundled } from './licenses.ts';
import { readBundled } from './licenses.ts';

/** The npm package of the running Node, which is the one that we distribute. */
const packageName = `node-linux-${process.arch}`;
const directory = `node_modules/${packageName}`;

export async function runtimeLicense(): Promise<Bundled> {
  // The npm package around Node states another license.
  return { ...(await readBundled(directory)), name: 'Node.js', license: 'Node.js' };
}

/** @throws if the lockfile has another version of Node */
export async function readRuntime(): Promise<Runtime> {
  const { packages } = JSON.parse(await readFile('package-lock.json', 'utf8')) as {
    readonly packages: Readonly<
      Record<string, { readonly version: string; readonly integrity: string }>
    >;
  };
  const locked = packages[`node_modules/${packageName}`];
  if (locked === undefined || `v${locked.version}` !== process.version) {
    throw new Error(
      `Node ${process.version} is running, and package-lock.json has ${locked?.version}: use make`,
    );
  }
  const libraries = Object.fromEntries(
    Object.entries(process.versions).filter(
      // An entry without a version is useless, and these four are not libraries.
      ([name, version]) => version !== '' && !['node', 'modules', 'napi', 'unicode'].includes(name),
    ),
  );
  return { ...locked, packageName, libraries } as Runtime;
}
