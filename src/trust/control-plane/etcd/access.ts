import { AgentError } from '../../../core/errors.ts';
import { encodeCertificates } from '../../../core/pem.ts';
import { Secret } from '../../../core/secret.ts';
import type { ClientCertificate } from '../../../kube/cluster-access.ts';
import { componentEndpoints } from '../../../pki/components/component-endpoints.ts';
import { fileIn } from '../../../pki/components/component-flags.ts';
import type { Component } from '../../../pki/components/component.ts';
import type { ChainCertificate } from '../../../pki/renewal/certificate-chain.ts';
import { readBoundedFile } from '../../../sys/small-file.ts';
import type { DialedServer } from '../../cluster/served-leaf.ts';

/** How this node connects to etcd: with the certificate of its kube-apiserver. */
export interface EtcdAccess {
  /** The port for clients of the member on this node. */
  readonly local: DialedServer;
  /** The port for peers of the member on this node. */
  readonly localPeer: DialedServer;
  /** The CAs that may have issued the certificate of a member, in PEM. */
  readonly authorities: Buffer;
  readonly certificateFile: string;
  readonly keyFile: string;
}

/**
 * @param authorities the CAs that may have issued the certificate of a member
 * @throws AgentError CONFIG_INVALID without etcd or kube-apiserver on this node
 */
export function etcdAccess(
  components: readonly Component[],
  authorities: readonly ChainCertificate[],
): EtcdAccess {
  const server = components.find(({ name }) => name === 'kube-apiserver');
  const etcd = components.find(({ name }) => name === 'etcd');
  const endpoints = etcd === undefined ? [] : componentEndpoints(etcd);
  const local = endpoints.find(({ name }) => name === 'etcd-client');
  const localPeer = endpoints.find(({ name }) => name === 'etcd-peer');
  const certificateFile = fileIn(server, 'etcd-certfile');
  const keyFile = fileIn(server, 'etcd-keyfile');
  if (
    local === undefined ||
    localPeer === undefined ||
    certificateFile === undefined ||
    keyFile === undefined
  ) {
    throw new AgentError(
      'CONFIG_INVALID',
      'the manifests of this node have no https:// URL in etcd --listen-client-urls or --listen-peer-urls, or no kube-apiserver --etcd-certfile and --etcd-keyfile',
      { remedy: 'Set these flags as kubeadm does' },
    );
  }
  return {
    local,
    localPeer,
    authorities: Buffer.from(encodeCertificates(authorities)),
    certificateFile,
    keyFile,
  };
}

/**
 * A certificate with its key from two files. The caller disposes it.
 * @throws AgentError PAIR_MALFORMED, STORE_*
 */
export async function readClientPair(
  certificateFile: string,
  keyFile: string,
): Promise<ClientCertificate & Disposable> {
  using certificate = await readBoundedFile(certificateFile);
  using keyContent = await readBoundedFile(keyFile);
  const pem = certificate.content.expose().slice();
  const key = new Secret(keyContent.content.expose().slice());
  const wipe = (): void => {
    key.wipe();
    // The file may also contain the key.
    pem.fill(0);
  };
  return { pem, key, [Symbol.dispose]: wipe };
}
