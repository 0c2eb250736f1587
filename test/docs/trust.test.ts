import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { trustRefusals, trustStages } from '../../src/core/trust.ts';
import { plain, read, section, tableRows, trustFindingIds } from './pages.ts';

const text = await read('docs/trust.md');

function idsIn(heading: string): string[] {
  return tableRows(section(text, heading)).map(([id]) => plain(id));
}

describe('trust.md', () => {
  it('lists the stages of the source in their order', () => {
    assert.deepEqual(idsIn('Stages'), [...trustStages]);
  });

  it('lists the reasons of a refusal in their order', () => {
    const ids = tableRows(section(text, 'Refused CAs')).flatMap(([cell = '']) => cell.split(', '));
    assert.deepEqual(ids.map(plain), [...trustRefusals]);
  });

  it('lists every finding of the source, and no other', async () => {
    assert.deepEqual(idsIn('Findings').toSorted(), [...(await trustFindingIds())].toSorted());
  });
});
