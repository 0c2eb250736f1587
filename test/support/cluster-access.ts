import type { ClusterAccess } from '../../src/kube/cluster-access.ts';

/** The access of a client that connects to nothing. */
export const nowhere: ClusterAccess = {
  path: '/etc/kubernetes/kubelet.conf',
  cluster: { server: 'https://10.0.0.1:6443', insecureSkipTlsVerify: false },
  credential: {},
  [Symbol.dispose]: () => undefined,
};
