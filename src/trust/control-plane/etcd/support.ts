import { hostOf, isLoopback } from '../../../core/host-port.ts';
import { fileIn, flagValue } from '../../../pki/components/component-flags.ts';
import type { Component } from '../../../pki/components/component.ts';
import { keyFileOf } from '../../../pki/layout.ts';
import { exists } from '../../../sys/exists.ts';
import type { GateReason } from '../../cluster/gate.ts';
import type { DialedServer } from '../../cluster/served-leaf.ts';
import { pairPath } from '../leaf.ts';
import { isManaged } from '../managed-component.ts';
import type { RolloverNode } from '../node-files.ts';
import { caPath } from '../node-files.ts';
import { serverAt } from './member-probes.ts';

/**
 * The members of etcd on other machines that kube-apiserver of this node uses. Undefined if the kubelet or
 * systemd runs etcd on this node, or should run it: kubeadm's kube-apiserver then uses it over loopback.
 */
export function externalEtcd(components: readonly Component[]): DialedServer[] | undefined {
  const server = components.find(({ name }) => name === 'kube-apiserver');
  if (server === undefined || components.some(isOwnEtcd)) return undefined;
  const urls = urlsIn(server, 'etcd-servers');
  return urls.length > 0 && urls.every(isElsewhere) ? urls.flatMap(serverAt) : undefined;
}

function isOwnEtcd(component: Component): boolean {
  return component.name === 'etcd' && isManaged(component);
}

function isElsewhere(url: URL): boolean {
  return url.protocol === 'https:' && !isLoopback(hostOf(url));
}

/** The rollover of this node replaces the CA of external etcd. */
export function hasExternalEtcd({
  ca,
  components,
}: Pick<RolloverNode, 'ca' | 'components'>): boolean {
  return ca === 'etcd' && externalEtcd(components) !== undefined;
}

/**
 * Why nodecertd cannot replace the CA of etcd on this node: it has to restart kube-apiserver, and etcd if
 * it runs here, and both have to use the files of kubeadm.
 */
export async function etcdObstacles(node: RolloverNode): Promise<GateReason[]> {
  if (externalEtcd(node.components) !== undefined) return externalObstacles(node);
  const etcd = managedIn(node, 'etcd');
  if (etcd === undefined) return [withoutEtcd];
  const server = managedIn(node, 'kube-apiserver');
  if (server === undefined) return [withoutApiServer];
  const ca = { tree: node.tree, own: caPath(node, 'trusted') };
  const files = await Promise.all([
    otherFile(etcd, 'trusted-ca-file', ca),
    otherFile(etcd, 'peer-trusted-ca-file', ca),
    otherFile(server, 'etcd-cafile', ca),
  ]);
  return [...files.flat(), ...remoteServers(etcd, server)];
}

async function externalObstacles(node: RolloverNode): Promise<GateReason[]> {
  const server = managedIn(node, 'kube-apiserver');
  if (server === undefined) return [withoutApiServer];
  const client = pairPath(node, 'apiserver-etcd-client');
  const ca = { tree: node.tree, own: caPath(node, 'trusted') };
  const files = await Promise.all([
    otherFile(server, 'etcd-cafile', ca),
    otherFile(server, 'etcd-certfile', { ...ca, own: client }),
    otherFile(server, 'etcd-keyfile', { ...ca, own: keyFileOf(client) }),
  ]);
  return [...files.flat(), ...(await needlessKey(node))];
}

/** It would not match the first CA of the file after `switch`, and kubeadm would sign with it. */
async function needlessKey(node: RolloverNode): Promise<GateReason[]> {
  const path = keyFileOf(caPath(node, 'trusted'));
  if (!(await exists((await node.tree.locate(path)).physical))) return [];
  return [
    {
      state: 'waiting',
      message: `etcd runs on other machines, and ${path} has the key of its CA`,
      remedy: `Move ${path} to an etcd host, because this node does not issue certificates for etcd`,
    },
  ];
}

function managedIn(
  { components }: Pick<RolloverNode, 'components'>,
  name: 'etcd' | 'kube-apiserver',
): Component | undefined {
  return components.find((one) => one.name === name && isManaged(one));
}

const withoutEtcd: GateReason = {
  state: 'waiting',
  message:
    'no static pod and no unit on this node runs etcd, and kube-apiserver does not use etcd on other machines over TLS',
  remedy:
    'Start etcd on this node. If it runs on other machines, kube-apiserver --etcd-servers has to name all of them as https://HOST:PORT',
};

const withoutApiServer: GateReason = {
  state: 'waiting',
  message:
    'no static pod and no unit on this node runs kube-apiserver, which has to restart to trust another CA of etcd',
  remedy: 'Run this command on a control-plane node',
};

async function otherFile(
  component: Component,
  flag: string,
  { tree, own }: { readonly tree: RolloverNode['tree']; readonly own: string },
): Promise<GateReason[]> {
  const named = fileIn(component, flag);
  const found = named === undefined ? undefined : (await tree.locate(named)).path;
  if (found === (await tree.locate(own)).path) return [];
  return [
    {
      state: 'waiting',
      message: `${component.name} has ${named === undefined ? 'no file' : `the file ${named}`} as --${flag}, and not ${own}`,
      remedy: `Set --${flag}=${own} in the manifest or the unit of ${component.name}, as kubeadm does`,
    },
  ];
}

/**
 * An API server that uses members on other nodes would need all of them to trust its certificate, and
 * its own trust in theirs, at each step. kubeadm's uses only the member on its node.
 */
function remoteServers(etcd: Component, server: Component): GateReason[] {
  const own = urlsIn(etcd, 'advertise-client-urls').map(hostOf);
  const remote = urlsIn(server, 'etcd-servers').filter((url) => {
    const host = hostOf(url);
    return !isLoopback(host) && !own.includes(host);
  });
  if (remote.length === 0) return [];
  return [
    {
      state: 'waiting',
      message: 'kube-apiserver on this node uses etcd members on other nodes',
      remedy:
        'Set kube-apiserver --etcd-servers=https://127.0.0.1:2379 on each control-plane node, as kubeadm does',
      objects: remote.map(({ origin }) => origin),
    },
  ];
}

/** The URLs of a flag, in which commas separate them. */
export function urlsIn({ flags }: Pick<Component, 'flags'>, flag: string): URL[] {
  const texts = (flagValue(flags, flag) ?? '').split(',');
  return texts.flatMap((text) => URL.parse(text.trim()) ?? []);
}
