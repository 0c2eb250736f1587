import type { TrustAuthority } from '../../core/trust.ts';
import type { KubeClient } from '../../kube/rest-client.ts';
import { issuingAuthority } from './issuer.ts';
import type { CurrentLeaf } from './leaves.ts';
import type { RunResult } from './run-result.ts';
import { failureOf } from './run-result.ts';
import type { TrustSession } from './session.ts';

/** The CA that the signer of each certificate uses now, by the name of the certificate. */
export async function findIssuers(
  session: TrustSession,
  {
    leaves,
    client,
    result,
  }: {
    readonly leaves: readonly CurrentLeaf[];
    /** Absent if the API server does not answer. */
    readonly client: KubeClient | undefined;
    readonly result: RunResult;
  },
): Promise<ReadonlyMap<string, TrustAuthority>> {
  const issuers = new Map<string, TrustAuthority>();
  if (client === undefined || leaves.length === 0) return issuers;
  const { config, signal } = session.request;
  const { issuer: configured } = config.trust;
  const { trusted: authorities } = session;
  try {
    const dialed = await session.dial(authorities);
    const served = dialed.flatMap((server) => (server.kind === 'verified' ? [server.chain] : []));
    const common = { authorities, served, client, signal };
    for (const { spec, pem: leaf } of leaves) {
      const { name, signerName } = spec;
      const search = { ...common, signerName, leaf };
      const known = configured !== undefined && { configured };
      const issuer = await issuingAuthority({ ...search, ...known });
      if (issuer !== undefined) issuers.set(name, issuer);
    }
  } catch (error) {
    result.wait(failureOf(error));
  }
  return issuers;
}
