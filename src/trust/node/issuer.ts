import { X509Certificate } from 'node:crypto';
import * as v from 'valibot';
import { hasCode } from '../../core/errors.ts';
import type { Instant } from '../../core/instant.ts';
import { scanPem } from '../../core/pem.ts';
import type { TrustAuthority } from '../../core/trust.ts';
import { base64 } from '../../kube/csr-object.ts';
import { listPages } from '../../kube/list-pages.ts';
import type { KubeClient } from '../../kube/rest-client.ts';
import { isSignedBy } from '../../kube/authorities.ts';

type Bundle = readonly TrustAuthority[];

/** The leaf first. */
type Chain = readonly X509Certificate[];

/** The CA that issued the first certificate of a PEM file. Undefined if none of these CAs did. */
export function issuerOf(pem: Uint8Array, authorities: Bundle): TrustAuthority | undefined {
  return issuerOfChain(chainIn(pem), authorities);
}

/** The CA whose key signed the leaf, or an intermediate CA of the chain. */
function issuerOfChain(chain: Chain, authorities: Bundle): TrustAuthority | undefined {
  for (const [index, certificate] of chain.entries()) {
    const signers = authorities.filter((authority) => isSignedBy(certificate, authority));
    // A bridge has the key of the new CA too.
    const signer = signers.find(({ isSelfSigned }) => isSelfSigned) ?? signers[0];
    if (signer !== undefined) return signer;
    const above = chain[index + 1];
    if (above === undefined || !isSignedBy(certificate, above)) return undefined;
  }
  return undefined;
}

export interface IssuerSearch {
  /** `trust.issuer`: the fingerprint of the CA. */
  readonly configured?: string;
  readonly signerName: string;
  /** The certificate that this node has from the signer, in PEM. */
  readonly leaf: Uint8Array;
  /** The CAs that this node trusts. */
  readonly authorities: Bundle;
  /** What the API servers serve now. */
  readonly served: () => Promise<readonly Chain[]>;
  readonly client: Pick<KubeClient, 'request'>;
  readonly signal: AbortSignal;
}

/**
 * The CA that issues certificates of the signer now. Its newest certificate shows it; if this node
 * sees none, the newest CA of a served certificate does. Undefined if it is none of these CAs, for
 * example because clients have a CA of their own, as in k3s.
 * @throws AgentError API_*, ABORTED
 */
export async function issuingAuthority(search: IssuerSearch): Promise<TrustAuthority | undefined> {
  const { configured, leaf, authorities } = search;
  if (configured !== undefined) {
    return authorities.find(({ fingerprint }) => fingerprint === configured);
  }
  const own = chainIn(leaf);
  const keys = new Set(authorities.map(({ pin }) => pin));
  if (keys.size < 2) return issuerOfChain(own, authorities);
  const issued = await issuedChains(search);
  if (issued.length === 0) return newestServed(own, { served: await search.served(), authorities });
  // The own certificate counts too: the list may lack the CSR of this node.
  const newest = [own, ...issued].reduce((a, b) => (startOf(b) > startOf(a) ? b : a));
  return issuerOfChain(newest, authorities);
}

/** True if another CA than the signer's issued the certificate. An unknown CA says nothing. */
export function isBehind(
  issuer: TrustAuthority | undefined,
  issuing: TrustAuthority | undefined,
): boolean {
  return issuer !== undefined && issuing !== undefined && issuer.pin !== issuing.pin;
}

/**
 * A part of the CSRs is enough. Their names are random, so some of them are recent, and 100,000 nodes
 * that list them every ten minutes would load the API server with longer lists.
 */
const mostRequests = 50;

const path = '/apis/certificates.k8s.io/v1/certificatesigningrequests';
const schema = v.object({ status: v.nullish(v.object({ certificate: v.nullish(base64) })) });

/** Empty if this node may not list CSRs. kube-controller-manager deletes an issued CSR after an hour. */
async function issuedChains({ client, signerName, signal }: IssuerSearch): Promise<Chain[]> {
  const query = { fieldSelector: `spec.signerName=${signerName}` };
  const options = { client: () => client, path, query, schema, limit: mostRequests, signal };
  try {
    for await (const { items } of listPages(options)) {
      const chains = items.map(({ status }) => chainIn(status?.certificate ?? new Uint8Array()));
      return chains.filter(({ length }) => length > 0);
    }
    return [];
  } catch (error) {
    if (hasCode(error, 'API_FORBIDDEN')) return [];
    throw error;
  }
}

/**
 * Serving certificates may have a CA of their own, so only a CA counts that is newer than the
 * issuer of the certificate of this node. Otherwise this node would renew its certificate again and
 * again.
 */
function newestServed(
  own: Chain,
  { served, authorities }: { readonly served: readonly Chain[]; readonly authorities: Bundle },
): TrustAuthority | undefined {
  const issuer = issuerOfChain(own, authorities);
  if (issuer === undefined) return undefined;
  const candidates = served.flatMap((chain) => issuerOfChain(chain, authorities) ?? []);
  return candidates.reduce((a, b) => (b.notBefore > a.notBefore ? b : a), issuer);
}

/** Wipes the key of a file that contains one. */
function chainIn(pem: Uint8Array): X509Certificate[] {
  return scanPem(pem).blocks.flatMap(({ label, der }) => {
    try {
      if (label === 'CERTIFICATE') return [new X509Certificate(der)];
      der.fill(0);
      return [];
    } catch {
      return [];
    }
  });
}

function startOf([leaf]: Chain): Instant {
  return leaf?.validFromDate.getTime() ?? 0;
}
