import { X509Certificate } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { AgentConfig } from '../../src/core/config.ts';
import { parsePem } from '../../src/core/pem.ts';
import type { DiscoverCluster } from '../../src/enroller/cluster-discovery.ts';
import type { Sandbox } from '../sandbox/sandbox.ts';
import type { Bench } from './fixtures.ts';

export const pin = `sha256:${'0a'.repeat(32)}` as const;

export function tokenOf(sandbox: Sandbox): string {
  return /token: (\S+)/.exec(sandbox.bootstrapKubeconfig())?.[1] ?? '';
}

/** What the discovery of a sandbox with the right pin returns. */
export function discoveryOf({ server, caPem }: Sandbox): Awaited<ReturnType<DiscoverCluster>> {
  const [ca] = parsePem(Buffer.from(caPem));
  if (ca === undefined) throw new Error('the sandbox has no CA');
  const certificate = new X509Certificate(ca.der);
  const authority = {
    der: ca.der,
    subject: 'CN=nodecertd-sandbox-ca',
    notAfter: certificate.validToDate.getTime(),
    pin,
    fingerprint: certificate.fingerprint256.replaceAll(':', '').toLowerCase(),
    isPinned: true,
  };
  return { server, authorities: [authority], verifiedBy: 'pin', warnings: [] };
}

/** Configures `bootstrap.discovery` on a node without a bootstrap kubeconfig, and writes the token file. */
export async function withDiscovery(
  bench: Bench,
  token = tokenOf(bench.sandbox),
): Promise<AgentConfig> {
  const tokenFile = join(bench.directory, 'token');
  await writeFile(tokenFile, `${token}\n`, { mode: 0o600 });
  const { bootstrapKubeconfig: _, ...config } = bench.config;
  const endpoints = [{ host: '10.0.0.1', port: 6_443 }];
  return {
    ...config,
    bootstrap: { discovery: { endpoints, tokenFile, pins: [pin] }, deleteAfterUse: false },
  };
}
