import { hostOf, isLoopback } from '../../../core/host-port.ts';
import { fileIn, flagValue } from '../../../pki/components/component-flags.ts';
import type { Component } from '../../../pki/components/component.ts';
import type { GateReason } from '../../cluster/gate.ts';
import type { RolloverNode } from '../node-files.ts';
import { caPath } from '../node-files.ts';

/**
 * Why nodecertd cannot replace the CA of etcd on this node: it has to restart etcd and kube-apiserver,
 * and both have to use the file of kubeadm.
 */
export async function etcdObstacles(node: RolloverNode): Promise<GateReason[]> {
  const etcd = staticPodIn(node, 'etcd');
  if (etcd === undefined) return [externalEtcd];
  const server = staticPodIn(node, 'kube-apiserver');
  if (server === undefined) return [withoutApiServer];
  const files = await Promise.all([
    otherFile(node, etcd, 'trusted-ca-file'),
    otherFile(node, etcd, 'peer-trusted-ca-file'),
    otherFile(node, server, 'etcd-cafile'),
  ]);
  return [...files.flat(), ...remoteServers(etcd, server)];
}

function staticPodIn(
  { components }: Pick<RolloverNode, 'components'>,
  name: 'etcd' | 'kube-apiserver',
): Component | undefined {
  return components.find((one) => one.name === name && one.source.kind === 'static-pod');
}

const externalEtcd: GateReason = {
  state: 'waiting',
  message:
    'no static pod on this node runs etcd, and apply replaces the CA only of etcd members that kubeadm runs on control-plane nodes',
  remedy:
    'For external etcd, do each step by hand on one etcd host after the other, and then here. First write both CAs into the files of etcd --trusted-ca-file and --peer-trusted-ca-file and of kube-apiserver --etcd-cafile, and restart each. Then replace the certificates of the members and of kube-apiserver --etcd-certfile. At the end write the new CA alone into the CA files, and restart each again',
};

const withoutApiServer: GateReason = {
  state: 'waiting',
  message:
    'no static pod on this node runs kube-apiserver, which has to restart to trust another CA of etcd',
  remedy: 'Run this command on a control-plane node that kubeadm made',
};

async function otherFile(
  node: RolloverNode,
  component: Component,
  flag: string,
): Promise<GateReason[]> {
  const own = caPath(node, 'trusted');
  const named = fileIn(component, flag);
  const found = named === undefined ? undefined : (await node.tree.locate(named)).path;
  if (found === (await node.tree.locate(own)).path) return [];
  return [
    {
      state: 'waiting',
      message: `${component.name} has ${named === undefined ? 'no file' : `the file ${named}`} as --${flag}, and not ${own}`,
      remedy: `Set --${flag}=${own} in the manifest of ${component.name}, as kubeadm does`,
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
