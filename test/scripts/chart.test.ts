import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { chartDirectory, chartFiles, renderChartFile } from '../../scripts/chart.ts';

describe('the chart of the approver', () => {
  for (const name of chartFiles) {
    it(`has a ${name} that agrees with package.json and src/config/`, async () => {
      assert.equal(
        await readFile(`${chartDirectory}${name}`, 'utf8'),
        await renderChartFile(name),
        'run: make chart',
      );
    });
  }
});
