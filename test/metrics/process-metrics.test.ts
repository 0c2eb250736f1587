import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { AgentMetrics } from '../../src/metrics/agent-metrics.ts';
import type { Exposition } from './exposition.ts';
import { scrape, series } from './exposition.ts';
import { agent, client, now } from './fixtures.ts';

const metrics = new AgentMetrics({
  status: () => agent([client()]),
  health: () => ({ lastTick: now, stuckAt: undefined }),
  kubeletNames: () => false,
});

function value(exposition: Exposition, name: string): number {
  return series(exposition, name)[''] ?? Number.NaN;
}

describe('ProcessMetrics', () => {
  it('shows the CPU time of the process without adding it up twice', async () => {
    const before = process.cpuUsage();
    await metrics.render();
    const cpu = value(await scrape(metrics), 'process_cpu_seconds_total') * 1e6;
    const after = process.cpuUsage();
    assert.ok(cpu >= before.user + before.system && cpu <= after.user + after.system);
  });

  it('counts open files', async () => {
    const before = value(await scrape(metrics), 'process_open_fds');
    await using first = await open('/dev/null');
    await using second = await open('/dev/null');
    assert.notEqual(first.fd, second.fd);
    assert.equal(value(await scrape(metrics), 'process_open_fds'), before + 2);
    assert.equal(before + 2, readdirSync('/proc/self/fd').length - 1);
  });

  it('shows the same file limit and memory as /proc', async () => {
    const exposition = await scrape(metrics);
    const limit = /Max open files\s+(\d+)/.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1];
    assert.equal(value(exposition, 'process_max_fds'), Number(limit));
    const resident = value(exposition, 'process_resident_memory_bytes');
    const peak = /VmHWM:\s+(\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
    assert.ok(resident > 1e7 && resident <= Number(peak) * 1024);
    const used = value(exposition, 'nodejs_heap_size_used_bytes');
    assert.ok(used > 0 && used < value(exposition, 'nodejs_heap_size_total_bytes'));
  });
});

describe('prom-client.ts', () => {
  it('loads only the registry and three metric types', async () => {
    const door = fileURLToPath(new URL('../../src/metrics/prom-client.ts', import.meta.url));
    const script = `
      await import(${JSON.stringify(door)});
      const { createRequire } = await import('node:module');
      console.log(Object.keys(createRequire(import.meta.url).cache).join('\\n'));`;
    const { stdout } = await promisify(execFile)(process.execPath, [
      '--input-type=module',
      '--eval',
      script,
    ]);
    const loaded = stdout
      .trim()
      .split('\n')
      .map((path) => path.replace(/^.*node_modules\//, ''));
    assert.deepEqual(loaded.sort(), [
      'prom-client/lib/counter.js',
      'prom-client/lib/exemplar.js',
      'prom-client/lib/gauge.js',
      'prom-client/lib/histogram.js',
      'prom-client/lib/metric.js',
      'prom-client/lib/registry.js',
      'prom-client/lib/util.js',
      'prom-client/lib/validation.js',
    ]);
  });
});
