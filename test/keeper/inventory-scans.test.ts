import assert from 'node:assert/strict';
import type { TestContext } from 'node:test';
import { describe, it } from 'node:test';
import { InventoryScans } from '../../src/keeper/inventory-scans.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { RecordingLogger, until } from './fixtures.ts';
import { OwnProgram } from './own-program.ts';

const often = { enabled: true, intervalSeconds: 0.02, paths: [] };
const seldom = { ...often, intervalSeconds: 3600 };
const off = { ...often, enabled: false };

async function newScans(context: TestContext, script: string) {
  const program = await OwnProgram.create(context, script);
  const logger = new RecordingLogger();
  const scans = new InventoryScans({ program: [program.path], clock: systemClock, logger });
  context.after(() => scans[Symbol.dispose]());
  /** Waits for a scan with the current script. */
  const nextScan = async (): Promise<void> => {
    const before = program.calls.length;
    // The end of one scan is the start of the next one.
    await until('the next scans', () => program.calls.length >= before + 3);
  };
  return { scans, logger, program, nextScan };
}

function inventoryOf(count: number): string {
  return `echo 'files ${count}'; echo 'nodecertd_inventory_last_scan_timestamp_seconds 1'`;
}

describe('InventoryScans', () => {
  it('scans at once and at each interval, and exports the last text', async (context) => {
    const { scans, program } = await newScans(context, inventoryOf(1));
    assert.equal(scans.exported, undefined);
    scans.apply(often);
    assert.deepEqual(scans.exported, { text: '', intervalSeconds: 0.02 });
    await until('the first scan', () => scans.exported?.text.startsWith('files 1\n') === true);
    await program.become(inventoryOf(2));
    await until('the second scan', () => scans.exported?.text.startsWith('files 2\n') === true);
  });

  it('keeps the previous text after a failure, and logs it and its end once', async (context) => {
    const { scans, logger, program, nextScan } = await newScans(context, inventoryOf(1));
    scans.apply(often);
    await nextScan();
    await program.become('echo "error: no memory" >&2; exit 1');
    await nextScan();
    const [line, ...more] = logger.all('inventory_scan_failed');
    assert.deepEqual(more, []);
    assert.equal(
      line?.['error'],
      'nodecertd certs check-expiration failed with exit code 1: error: no memory',
    );
    assert.ok(line?.['remedy']);
    assert.match(scans.exported?.text ?? '', /^files 1$/m);
    await program.become(inventoryOf(2));
    await nextScan();
    assert.match(scans.exported?.text ?? '', /^files 2$/m);
    assert.deepEqual(logger.events, ['inventory_scan_failed', 'inventory_scan_recovered']);
  });

  it('ends a running command for a new configuration, then scans with it', async (context) => {
    const { scans, logger, program } = await newScans(context, 'sleep 100');
    scans.apply(seldom);
    await until('the command', () => program.calls.length === 1);
    await program.become(inventoryOf(2));
    scans.apply({ ...seldom, paths: ['/srv/*.crt'] });
    await until('the second scan', () => scans.exported?.text !== '');
    assert.match(program.calls.at(-1) ?? '', /--path \/srv\/\*\.crt$/);
    assert.equal(program.calls.length, 2);
    assert.deepEqual(logger.events, []);
  });

  it('exports nothing once it is disabled', async (context) => {
    const { scans, program } = await newScans(context, inventoryOf(1));
    scans.apply(off);
    assert.equal(scans.exported, undefined);
    scans.apply(seldom);
    await until('the first scan', () => scans.exported?.text !== '');
    scans.apply(off);
    assert.equal(scans.exported, undefined);
    assert.equal(program.calls.length, 1);
  });
});
