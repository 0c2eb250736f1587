import type { TestContext } from 'node:test';
import type { FaultFamily, FaultRow } from './family.ts';
import { formatRows } from './table.ts';

/** Runs the short form of a family for a test, and prints the table. */
export async function collectRows(family: FaultFamily, context: TestContext): Promise<FaultRow[]> {
  const rows: FaultRow[] = [];
  const { signal } = context;
  for await (const row of family.run({ thorough: false, signal, progress })) rows.push(row);
  context.diagnostic(formatRows(rows));
  return rows;
}

function progress(): void {}
