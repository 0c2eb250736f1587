import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { exitCodes } from '../../src/cli/certs-check-expiration.ts';
import { exitCodes as renewExitCodes } from '../../src/cli/certs-renew.ts';
import { exitCodes as verifyExitCodes } from '../../src/cli/certs-verify.ts';
import { describeProgram } from '../../src/cli/program.ts';
import { inventoryStates } from '../../src/pki/inventory/judge.ts';
import { kubeadmCertificates } from '../../src/pki/layout.ts';
import { verdicts } from '../../src/pki/inventory/served.ts';
import { everyMetric } from '../metrics/every-metric.ts';
import { scrape } from '../metrics/exposition.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { plain, read, section, tableRows } from './pages.ts';

const text = await read('docs/certs.md');

/** The rows of a section; no cell may be empty. */
function rowsOf(heading: string): string[][] {
  const rows = tableRows(section(text, heading)).map((row) => row.map(plain));
  for (const row of rows) assert.ok(row.every(Boolean), `${row[0]}: an empty cell`);
  return rows;
}

describe('certs.md', () => {
  it('explains every state, with its exit code and in the order of the program', () => {
    const documented = rowsOf('States').map(([state = '', code]) => [state, Number(code)]);
    assert.deepEqual(documented, Object.entries(inventoryStates));
  });

  it('explains every exit code of check-expiration', () => {
    const documented = rowsOf('Exit codes').map(([code]) => code);
    assert.deepEqual(documented, Object.keys(exitCodes));
  });

  it('explains every exit code of certs renew', () => {
    const documented = rowsOf('Renewing').map(([code]) => code);
    assert.deepEqual(documented, Object.keys(renewExitCodes));
  });

  it('explains every verdict, with an exit code of certs verify', () => {
    const rows = rowsOf('`certs verify`');
    assert.deepEqual(
      rows.map(([verdict]) => verdict),
      verdicts,
    );
    const fine = rows.filter(([, code]) => code === '0').map(([verdict]) => verdict);
    assert.deepEqual(fine, ['current', 'self-signed in memory']);
    for (const [, code = ''] of rows) assert.ok(Object.hasOwn(verifyExitCodes, code), code);
  });

  it('explains every output format', async () => {
    const { commands } = await describeProgram({
      stdout: process.stdout,
      stderr: process.stderr,
      environment: { hostName: 'here', workingDirectory: '/' },
      clock: new FakeClock(),
      startAgent: async () => 0,
      startApprover: async () => 0,
    });
    const check = commands.find(({ name }) => name === 'certs check-expiration');
    const output = check?.command.options.find(({ long }) => long === '--output');
    const documented = rowsOf('Output formats').map(([format]) => format);
    assert.deepEqual(documented, output?.argChoices);
  });

  it('says for every certificate of kubeadm who uses it, and how it is reloaded', () => {
    const documented = rowsOf('Who reloads a renewed file').map(([name, usedBy = '', reload]) => [
      name,
      usedBy.split(/[ ,]/)[0],
      reload,
    ]);
    const known = kubeadmCertificates.map(({ name, usedBy: [usage] }) => [
      name,
      usage?.component ?? 'no',
      usage?.reload ?? '–',
    ]);
    assert.deepEqual(documented, known);
  });

  it('uses only series that the program has', async () => {
    const { types } = await scrape(everyMetric());
    for (const [name] of section(text, 'Prometheus').matchAll(/nodecertd_inventory_\w+/g)) {
      assert.ok(types.has(name), name);
    }
  });
});
