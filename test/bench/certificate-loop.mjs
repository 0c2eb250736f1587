/**
 * The least that a list of certificates can cost: reads and parses each file of a folder, and
 * keeps nothing. Not in TypeScript, because stripping the types takes memory.
 */
import { X509Certificate } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const [, , directory = '.'] = process.argv;
let last = 0;
for (const entry of readdirSync(directory, { recursive: true, withFileTypes: true })) {
  if (!entry.isFile()) continue;
  const { subject, validTo } = new X509Certificate(
    readFileSync(join(entry.parentPath, entry.name)),
  );
  if (subject !== '') last = Math.max(last, Date.parse(validTo));
}
process.stdout.write(`${new Date(last).toISOString()}\n`);
