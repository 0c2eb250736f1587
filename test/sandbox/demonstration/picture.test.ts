import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { livePicture, pictureFile } from './picture.ts';

describe('docs/live-table.svg', () => {
  it('shows the screen of make run as it is', async () => {
    const picture = await readFile(pictureFile, 'utf8');
    assert.equal(picture, livePicture(), 'run: node scripts/write-picture.ts');
  });
});
