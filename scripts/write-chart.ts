import { writeFile } from 'node:fs/promises';
import { chartDirectory, chartFiles, renderChartFile } from './chart.ts';

/** Part of `make chart`: writes the parts of the chart that come from other files. */
for (const name of chartFiles) {
  await writeFile(`${chartDirectory}${name}`, await renderChartFile(name));
}
