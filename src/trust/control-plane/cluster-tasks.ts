import { encodeCertificates } from '../../core/pem.ts';
import { isSameAuthority, isSameBundle, unionOf } from '../../core/trust-bundle.ts';
import type { TrustAuthority } from '../../core/trust.ts';
import { authorityName } from '../../core/trust.ts';
import { readClusterAuthorities, unusable } from '../../discovery/cluster-kubeconfig.ts';
import { readAuthorities } from '../../kube/authorities.ts';
import type { ConfigMap, ConfigMapName } from '../../kube/config-map.ts';
import {
  configMapName,
  readConfigMap,
  requireConfigMap,
  updateConfigMap,
} from '../../kube/config-map.ts';
import type { KubeClient } from '../../kube/rest-client.ts';
import { deleteObject, objectExists } from '../../kube/object.ts';
import { editYaml } from '../../kube/yaml-edit.ts';
import type { RolloverAuthorities } from '../cluster/gate.ts';
import { managerArguments, withManagerArguments } from './manager-arguments.ts';
import type { ClusterTask } from './task.ts';

type Client = Pick<KubeClient, 'request'>;

export interface ClusterObjects {
  readonly client: Client;
  readonly signal: AbortSignal;
}

type BothAuthorities = Required<RolloverAuthorities>;

const clusterInfo: ConfigMapName = { namespace: 'kube-public', name: 'cluster-info' };

/** What joining nodes trust: both CAs from `trust` to `finish`, then the new CA. */
export type JoinTrust = 'both' | 'next';

/**
 * Writes the CAs into cluster-info. A CA that is not part of the rollover stays. The controller
 * bootstrap-signer-controller then signs the new content. No task without cluster-info.
 * @throws AgentError API_BAD_RESPONSE; as KubeClient.request
 */
export async function clusterInfoTask(
  { client, signal }: ClusterObjects,
  authorities: BothAuthorities,
  trust: JoinTrust,
): Promise<ClusterTask[]> {
  const found = await readConfigMap(client, clusterInfo, signal);
  if (found === undefined) return [];
  const held = authoritiesIn(found.data);
  const wanted = wantedIn(held, authorities, trust);
  return [
    {
      kind: 'cluster',
      name: configMapName(clusterInfo),
      content: wanted.map(authorityName).join(', '),
      isDone: isSameBundle(held, wanted),
      run: (stop) =>
        updateConfigMap(client, clusterInfo, {
          edit: (data) => {
            const now = wantedIn(authoritiesIn(data), authorities, trust);
            return { kubeconfig: withAuthorities(data['kubeconfig'] ?? '', now) };
          },
          signal: stop,
        }),
    },
  ];
}

function authoritiesIn(data: ConfigMap['data']): TrustAuthority[] {
  return readAuthorities(readClusterAuthorities(data['kubeconfig'] ?? '')).authorities;
}

function wantedIn(
  held: readonly TrustAuthority[],
  { old, next }: BothAuthorities,
  trust: JoinTrust,
): TrustAuthority[] {
  if (trust === 'both') return unionOf(held, [old, next]);
  return unionOf(
    held.filter((one) => !isSameAuthority(one, old)),
    [next],
  );
}

function withAuthorities(kubeconfig: string, authorities: readonly TrustAuthority[]): string {
  const path = ['clusters', 0, 'cluster', 'certificate-authority-data'];
  const value = encodeCertificates(authorities).toBase64();
  const edited = editYaml(kubeconfig, [{ path, value }]);
  if (edited === undefined) throw unusable('has anchors or tags, so it cannot be edited');
  return edited;
}

const kubeadmConfig: ConfigMapName = { namespace: 'kube-system', name: 'kubeadm-config' };

/** Flags of kube-controller-manager without dashes, with their values from `trust` to `finish`. */
export type ManagerFlags = ReadonlyMap<string, string>;

/**
 * Sets the flags of kube-controller-manager in kubeadm-config, because `kubeadm upgrade` writes the
 * manifest again from it.
 * @throws AgentError API_NOT_FOUND, API_BAD_RESPONSE; as KubeClient.request
 */
export async function setManagerFlagsTask(
  { client, signal }: ClusterObjects,
  flags: ManagerFlags,
): Promise<ClusterTask> {
  const { data } = await requireConfigMap(client, kubeadmConfig, signal);
  const current = managerArguments(configurationIn(data));
  return {
    kind: 'cluster',
    name: configMapName(kubeadmConfig),
    content: `kube-controller-manager with ${flagTexts(flags).join(' ')}`,
    isDone: flags.entries().every(([name, value]) => current.get(name) === value),
    run: (stop) => changeManagerFlags(client, () => flags, stop),
  };
}

/** Removes the flags that `setManagerFlagsTask` has set. Another value is the administrator's. */
export async function removeManagerFlagsTask(
  { client, signal }: ClusterObjects,
  flags: ManagerFlags,
): Promise<ClusterTask> {
  const { data } = await requireConfigMap(client, kubeadmConfig, signal);
  return {
    kind: 'cluster',
    name: configMapName(kubeadmConfig),
    content: `kube-controller-manager without ${flagTexts(flags).join(' ')}`,
    isDone: removalsIn(data, flags).size === 0,
    run: (stop) => changeManagerFlags(client, (now) => removalsIn(now, flags), stop),
  };
}

type FlagChanges = ReadonlyMap<string, string | undefined>;

function removalsIn(data: ConfigMap['data'], flags: ManagerFlags): FlagChanges {
  const current = managerArguments(configurationIn(data));
  const set = [...flags].filter(([name, value]) => current.get(name) === value);
  return new Map(set.map(([name]) => [name, undefined]));
}

function changeManagerFlags(
  client: Client,
  changesFor: (data: ConfigMap['data']) => FlagChanges,
  signal: AbortSignal,
): Promise<void> {
  return updateConfigMap(client, kubeadmConfig, {
    edit: (data) => ({
      ClusterConfiguration: withManagerArguments(configurationIn(data), changesFor(data)),
    }),
    signal,
  });
}

function configurationIn(data: ConfigMap['data']): string {
  return data['ClusterConfiguration'] ?? '';
}

function flagTexts(flags: ManagerFlags): string[] {
  return [...flags].map(([name, value]) => `--${name}=${value}`);
}

const uploadedCertificates = '/api/v1/namespaces/kube-system/secrets/kubeadm-certs';

/**
 * Deletes the Secret of `kubeadm init phase upload-certs`. A control-plane node that joins with it
 * gets the CA files from before the step, and its API server rejects clients of the other CA.
 * @throws AgentError as KubeClient.request
 */
export async function uploadedCertificatesTask({
  client,
  signal,
}: ClusterObjects): Promise<ClusterTask[]> {
  if (!(await objectExists(client, uploadedCertificates, signal))) return [];
  return [
    {
      kind: 'cluster',
      name: 'kube-system/kubeadm-certs',
      content: 'deleted, because it has the CA files from before this step',
      isDone: false,
      run: (stop) => deleteObject(client, uploadedCertificates, stop),
    },
  ];
}
