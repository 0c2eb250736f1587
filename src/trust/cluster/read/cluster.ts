import type { Instant } from '../../../core/instant.ts';
import type { ClusterState } from '../state.ts';
import { Bundles } from './bundles.ts';
import { readClusterInfo } from './cluster-info.ts';
import { readHolders } from './holders.ts';
import { readKubeletPorts, readNodes } from './nodes.ts';
import { readPodGroups } from './pods.ts';
import type { BundleReader } from './published.ts';
import {
  readExtensionAuthentication,
  readNamespaces,
  readRootCas,
  readTrustBundles,
} from './published.ts';
import type { ClusterReader } from './reading.ts';
import { reading } from './reading.ts';
import { readSigners } from './signers.ts';

export interface ClusterQuestion {
  /** By the clock of the API servers. */
  readonly readAt: Instant;
  /** Pods are the largest part of a cluster, and `--pods-ok` needs none. */
  readonly withPods: boolean;
  /** For a caller that connects to kubelets. Needs the whole Nodes. */
  readonly withKubeletPorts?: boolean;
}

/**
 * Reads what the gates need, page by page and one kind after the other, so that a large cluster
 * needs little memory. Changes nothing. What the credential may not read is part of the result.
 * @throws AgentError as KubeClient.request
 */
export async function readClusterState(
  clusterReader: ClusterReader,
  { readAt, withPods, withKubeletPorts = false }: ClusterQuestion,
): Promise<ClusterState> {
  const reader: BundleReader = { ...clusterReader, bundles: new Bundles() };
  return {
    readAt,
    nodes: await reading(async () =>
      readNodes(reader, withKubeletPorts ? await readKubeletPorts(reader) : new Map()),
    ),
    namespaces: await reading(() => readNamespaces(reader)),
    rootCas: await reading(() => readRootCas(reader)),
    trustBundles: await reading(() => readTrustBundles(reader)),
    clusterInfo: await reading(() => readClusterInfo(reader, readAt)),
    extensionAuthentication: await reading(() => readExtensionAuthentication(reader)),
    ...(withPods && { pods: await reading(() => readPodGroups(reader)) }),
    signers: await reading(() => readSigners(reader)),
    holders: {
      ValidatingWebhookConfiguration: await holders('ValidatingWebhookConfiguration', reader),
      MutatingWebhookConfiguration: await holders('MutatingWebhookConfiguration', reader),
      APIService: await holders('APIService', reader),
      CustomResourceDefinition: await holders('CustomResourceDefinition', reader),
      Secret: await holders('Secret', reader),
    },
  };
}

function holders(
  kind: Parameters<typeof readHolders>[0],
  reader: BundleReader,
): Promise<ClusterState['holders'][typeof kind]> {
  return reading(() => readHolders(kind, reader));
}
