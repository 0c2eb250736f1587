import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { parse, stringify } from 'yaml';
import { day } from '../../src/core/instant.ts';
import { until } from '../keeper/fixtures.ts';
import { parseExposition } from '../metrics/exposition.ts';
import { makeCa, writePair } from '../pki/kubeadm-tree.ts';
import { TestNode } from '../support/agent.ts';
import type { TestAgent } from '../support/agent.ts';
import type { ControlPlane } from '../support/control-plane.ts';
import { startSandboxControlPlane } from '../support/sandbox-control-plane.ts';

/** The real program on the sandbox, with an inventory. */
describe('nodecertd run with an inventory', () => {
  let controlPlane: ControlPlane;
  before(async () => {
    controlPlane = await startSandboxControlPlane({ signingSeconds: 3_600 });
  });
  after(async () => {
    await controlPlane[Symbol.asyncDispose]();
  });

  it('exports it after a reload, without losing a pending request', async () => {
    await using node = await TestNode.create(controlPlane, 'inventory');
    const notAfter = Math.floor(Date.now() / 1000) * 1000 + day;
    const ca = await makeCa('private', { notBefore: notAfter - 2 * day, notAfter });
    await writePair(join(node.directory, 'certs/ca.crt'), ca);
    await controlPlane.setApproving(false);
    try {
      const agent = node.start();
      const { csr } = await agent.event('csr_created');
      assert.doesNotMatch((await agent.get('/metrics')).text, /^nodecertd_inventory/m);
      const configuration = parse(await readFile(node.configFile, 'utf8')) as object;
      const inventory = { enabled: true, paths: ['certs/*.crt'] };
      await writeFile(node.configFile, stringify({ ...configuration, inventory }));
      process.kill(agent.pid, 'SIGHUP');
      assert.deepEqual((await agent.event('config_reloaded'))['changed'], ['inventory']);
      const { samples, types } = parseExposition(await scanned(agent));
      const path = join(node.directory, 'certs/ca.crt');
      const series = `nodecertd_inventory_not_after_timestamp_seconds{name="${path}",kind="other",place="${path}",entry=""}`;
      assert.equal(samples.get(series), notAfter / 1000);
      assert.equal(samples.get('nodecertd_inventory_interval_seconds'), 600);
      assert.ok(types.has('nodecertd_rotations_total'));
      await controlPlane.approve(String(csr));
      await agent.event('certificate_stored');
      assert.equal(agent.all('csr_created').length, 1);
    } finally {
      await controlPlane.setApproving(true);
    }
  });

  it('does not wait for a scan that hangs when it stops', async () => {
    const inventory = { enabled: true };
    await using node = await TestNode.create(controlPlane, 'inventory-hangs', { inventory });
    const agent = node.start();
    let scan: number | undefined;
    await until('the scan', () => (scan = scanOf(agent)) !== undefined);
    process.kill(scan ?? 0, 'SIGSTOP');
    await agent.event('certificate_stored');
    await agent.stop();
    assert.equal(agent.exitCode, 0);
    assert.equal(agent.lines.at(-1)?.event, 'agent_stopped');
    assert.deepEqual(agent.all('inventory_scan_failed'), []);
    assert.throws(() => process.kill(scan ?? 0, 0), { code: 'ESRCH' });
  });
});

/** The metrics of an agent after its first scan. */
async function scanned(agent: TestAgent): Promise<string> {
  for (;;) {
    const { text } = await agent.get('/metrics');
    if (text.includes('nodecertd_inventory_last_scan')) return text;
  }
}

/** The process of a running scan. */
function scanOf({ pid }: TestAgent): number | undefined {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').match(/\d+/g) ?? [];
  return children.map(Number).find((child) => commandLine(child).includes('check-expiration'));
}

function commandLine(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    // The process has ended.
    return '';
  }
}
