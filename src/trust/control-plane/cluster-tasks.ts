import { encodeCertificates } from '../../core/pem.ts';
import { isSameAuthority, isSameBundle, unionOf } from '../../core/trust-bundle.ts';
import type { TrustAuthority } from '../../core/trust.ts';
import { authorityName } from '../../core/trust.ts';
import { readClusterAuthorities, unusable } from '../../discovery/cluster-kubeconfig.ts';
import { readAuthorities } from '../../kube/authorities.ts';
import type { ConfigMap, ConfigMapName } from '../../kube/config-map.ts';
import { configMapName, readConfigMap, updateConfigMap } from '../../kube/config-map.ts';
import type { KubeClient } from '../../kube/rest-client.ts';
import { deleteObject, objectExists } from '../../kube/object.ts';
import { editYaml } from '../../kube/yaml-edit.ts';
import type { RolloverAuthorities } from '../cluster/gate.ts';
import type { ComponentArguments, Section } from './component-arguments.ts';
import { componentArguments, sections, withArguments } from './component-arguments.ts';
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
  const except = (ca: TrustAuthority): TrustAuthority[] =>
    held.filter((one) => !isSameAuthority(one, ca));
  if (trust === 'next') return unionOf(except(old), [next]);
  // The old CA comes first, also after the undo of `finish`. A renewed certificate of the new CA stays.
  const renewed = held.filter((one) => isSameAuthority(one, next));
  return unionOf(except(next), [old, ...renewed, next]);
}

function withAuthorities(kubeconfig: string, authorities: readonly TrustAuthority[]): string {
  const path = ['clusters', 0, 'cluster', 'certificate-authority-data'];
  const value = encodeCertificates(authorities).toBase64();
  const edited = editYaml(kubeconfig, [{ path, value }]);
  if (edited === undefined) throw unusable('has anchors or tags, so it cannot be edited');
  return edited;
}

const kubeadmConfig: ConfigMapName = { namespace: 'kube-system', name: 'kubeadm-config' };

/** Flags of a component without dashes, with their values. */
export type Flags = ReadonlyMap<string, string>;

/** Flags of the component that a section of kubeadm-config is about. */
export interface SectionFlags {
  readonly section: Section;
  readonly flags: Flags;
}

/**
 * Sets the flags of a component in kubeadm-config, because `kubeadm upgrade` writes the manifest again
 * from it. No task without kubeadm-config.
 * @throws AgentError API_BAD_RESPONSE; as KubeClient.request
 */
export async function setFlagsTask(
  objects: ClusterObjects,
  { section, flags }: SectionFlags,
): Promise<ClusterTask[]> {
  const content = `${sections[section]} with ${flagTexts(flags).join(' ')}`;
  const changesFor: ChangesFor = (current) => additionsTo(current, flags);
  return flagsTask(objects, { section, content, changesFor });
}

/**
 * Removes the flags that `setFlagsTask` has set. Another value is the administrator's. No task without
 * kubeadm-config.
 * @throws AgentError API_BAD_RESPONSE; as KubeClient.request
 */
export async function removeFlagsTask(
  objects: ClusterObjects,
  { section, flags }: SectionFlags,
): Promise<ClusterTask[]> {
  const content = `${sections[section]} without ${flagTexts(flags).join(' ')}`;
  const changesFor: ChangesFor = (current) => removalsFrom(current, flags);
  return flagsTask(objects, { section, content, changesFor });
}

type FlagChanges = ReadonlyMap<string, string | undefined>;
type ChangesFor = (current: ComponentArguments) => FlagChanges;

async function flagsTask(
  { client, signal }: ClusterObjects,
  {
    section,
    content,
    changesFor,
  }: {
    readonly section: Section;
    readonly content: string;
    readonly changesFor: ChangesFor;
  },
): Promise<ClusterTask[]> {
  const found = await readConfigMap(client, kubeadmConfig, signal);
  if (found === undefined) return [];
  const changesIn = (configuration: string): FlagChanges =>
    changesFor(componentArguments(configuration, section));
  return [
    {
      kind: 'cluster',
      name: configMapName(kubeadmConfig),
      content,
      isDone: changesIn(configurationIn(found.data)).size === 0,
      run: (stop) =>
        updateConfigMap(client, kubeadmConfig, {
          edit: (data) => {
            const before = configurationIn(data);
            return { ClusterConfiguration: withArguments(before, section, changesIn(before)) };
          },
          signal: stop,
        }),
    },
  ];
}

/** All flags, so that they stay together, or none. */
function additionsTo(current: ComponentArguments, flags: Flags): FlagChanges {
  const isSet = flags.entries().every(([name, value]) => current.get(name) === value);
  return isSet ? new Map() : flags;
}

function removalsFrom(current: ComponentArguments, flags: Flags): FlagChanges {
  const set = [...flags].filter(([name, value]) => current.get(name) === value);
  return new Map(set.map(([name]) => [name, undefined]));
}

function configurationIn(data: ConfigMap['data']): string {
  return data['ClusterConfiguration'] ?? '';
}

function flagTexts(flags: Flags): string[] {
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
