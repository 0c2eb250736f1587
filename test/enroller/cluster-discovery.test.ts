import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { AgentError } from '../../src/core/errors.ts';
import { ClusterDiscovery } from '../../src/enroller/cluster-discovery.ts';
import type { DiscoverCluster } from '../../src/enroller/cluster-discovery.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { discoveryOf, pin, tokenOf, withDiscovery } from './discovered.ts';
import { Bench } from './fixtures.ts';

const { signal } = new AbortController();

async function discoveryOn(
  bench: Bench,
  discover: DiscoverCluster,
): Promise<{ readonly discovery: ClusterDiscovery; readonly tokenFile: string }> {
  const { discovery: config } = (await withDiscovery(bench)).bootstrap;
  assert.ok(config !== undefined);
  const { report } = bench;
  const options = { config, discover, report, version: 'test', clock: systemClock };
  return { discovery: new ClusterDiscovery(options), tokenFile: config.tokenFile };
}

describe('ClusterDiscovery', () => {
  it('passes the configuration, and reports progress and result without the token', async () => {
    await using bench = await Bench.create();
    const { discovery } = await discoveryOn(bench, async (request, { progress }) => {
      assert.deepEqual(request.endpoints, [{ host: '10.0.0.1', port: 6_443 }]);
      assert.deepEqual([request.pins, request.onlyPinned], [[pin], false]);
      assert.equal(request.token.id, tokenOf(bench.sandbox).slice(0, 6));
      progress('10.0.0.1:6443 refused the connection; next attempt in 5s');
      return { ...discoveryOf(bench.sandbox), warnings: ['one CA is not pinned'] };
    });
    using access = await discovery.access(signal);
    assert.equal(access.cluster.server, bench.sandbox.server);
    assert.equal(access.cluster.insecureSkipTlsVerify, false);
    const { token } = access.credential;
    assert.equal(Buffer.from(token?.expose() ?? []).toString(), tokenOf(bench.sandbox));
    assert.deepEqual(bench.reports, [
      { type: 'discovery', line: '10.0.0.1:6443 refused the connection; next attempt in 5s' },
      {
        type: 'discovered',
        server: bench.sandbox.server,
        authorities: [{ subject: 'CN=nodecertd-sandbox-ca', pin, isPinned: true }],
        warnings: ['one CA is not pinned'],
      },
    ]);
  });

  it('reads the token file for each attempt, and wipes the token after a failure', async () => {
    await using bench = await Bench.create();
    const tokens: Uint8Array[] = [];
    const { discovery, tokenFile } = await discoveryOn(bench, async ({ token }) => {
      tokens.push(token.text.expose());
      throw new AgentError('TOKEN_REJECTED', `token ${token.id} is not signed`);
    });
    await assert.rejects(discovery.access(signal), { code: 'TOKEN_REJECTED' });
    await writeFile(tokenFile, 'aaaaaa.0123456789abcdef');
    await assert.rejects(discovery.access(signal), { message: 'token aaaaaa is not signed' });
    assert.ok(tokens.every((token) => token.every((byte) => byte === 0)));
  });
});
