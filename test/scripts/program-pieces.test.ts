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
});
