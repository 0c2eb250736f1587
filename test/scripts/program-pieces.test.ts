import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { programPieces } from '../../scripts/program-pieces.ts';

describe('programPieces()', () => {
  it('returns sources and packages, and no file of the sandbox', async () => {
    const { metafile } = await programPieces('dist/lib');
    const inputs = Object.keys(metafile.inputs);
    assert.ok(inputs.includes('src/main.ts'));
    const foreign = inputs.filter((path) => !/^(?:src|node_modules)\/|^package\.json$/.test(path));
    assert.deepEqual(foreign, []);
  });

  it('imports no names of a CommonJS package dynamically', async () => {
    const { metafile } = await programPieces('dist/lib');
    const entries = Object.values(metafile.outputs).flatMap(({ entryPoint }) => entryPoint ?? []);
    assert.ok(entries.includes('src/cli/yaml-text.ts'));
    const packages = entries.filter((path) => path.startsWith('node_modules/'));
    // The program uses their default exports.
    const [connect, proxy, ...others] = packages.toSorted();
    assert.match(connect ?? '', /undici\/lib\/api\/api-connect\.js$/);
    assert.match(proxy ?? '', /undici\/lib\/dispatcher\/proxy-agent\.js$/);
    assert.deepEqual(others, []);
  });
});
