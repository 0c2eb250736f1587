import { encodeCertificates } from '../../core/pem.ts';
import type { ComponentName } from '../../pki/components/component.ts';
import { fileIn } from '../../pki/components/component-flags.ts';
import type { ChainCertificate } from '../../pki/renewal/certificate-chain.ts';
import { haveSameKey, isIn } from '../../pki/renewal/certificate-chain.ts';
import type { RolloverSide } from '../cluster/gate.ts';
import { certificatesOf, inWords } from './ca-files.ts';
import type { RolloverNode } from './node-files.ts';
import { caPath, certificatesAt } from './node-files.ts';
import type { Replacement } from './replacement.ts';
import { replacement } from './replacement.ts';
import type { CaName } from './task.ts';

/** The flags with CAs that verify clients or kubelets. Components reload these files. */
const trustFlags: Readonly<Record<CaName, readonly (readonly [ComponentName, string])[]>> = {
  kubernetes: [
    ['kube-apiserver', 'client-ca-file'],
    ['kube-apiserver', 'kubelet-certificate-authority'],
    ['kube-controller-manager', 'client-ca-file'],
    ['kube-scheduler', 'client-ca-file'],
  ],
  etcd: [],
  'front-proxy': [
    ['kube-apiserver', 'requestheader-client-ca-file'],
    ['kube-controller-manager', 'requestheader-client-ca-file'],
    ['kube-scheduler', 'requestheader-client-ca-file'],
  ],
};

/** Trust flags usually name the file of kubeadm, such as `ca.crt`. Another file with one of the two CAs gets the same CAs. */
export async function otherTrustFiles(
  node: RolloverNode,
  sides: readonly RolloverSide[],
): Promise<Replacement[]> {
  const { tree, components } = node;
  const own = await Promise.all(
    (['trusted', 'clients'] as const).map(async (file) => tree.locate(caPath(node, file))),
  );
  const named = trustFlags[node.ca].flatMap(
    ([name, flag]) =>
      fileIn(
        components.find((component) => component.name === name),
        flag,
      ) ?? [],
  );
  const paths = await Promise.all(named.map(async (path) => (await tree.locate(path)).path));
  const others = [...new Set(paths)].filter((path) => own.every((one) => one.path !== path));
  const found = await Promise.all(others.map(async (path) => trustFile(node, path, sides)));
  return found.flat();
}

async function trustFile(
  node: RolloverNode,
  path: string,
  sides: readonly RolloverSide[],
): Promise<Replacement[]> {
  const present = await certificatesAt(node.tree, path);
  // Such a file may have a CA that is not part of the rollover, such as one for kubelets.
  if (present === undefined || !present.some((one) => isOfRollover(one, node))) return [];
  const trust = withTrust(present, node, sides);
  return [
    replacement({
      tree: node.tree,
      path,
      content: inWords(sides),
      mode: '0644',
      isDone: trust.isDone,
      bytes: async () => encodeCertificates(trust.certificates),
    }),
  ];
}

/** These CAs, and after them the CAs that are not part of the rollover, such as that of a load balancer. */
export function withTrust(
  present: readonly ChainCertificate[],
  node: Pick<RolloverNode, RolloverSide>,
  sides: readonly RolloverSide[],
): { readonly certificates: readonly ChainCertificate[]; readonly isDone: boolean } {
  const wanted = certificatesOf(node, sides);
  const others = present.filter((one) => !isOfRollover(one, node));
  const certificates = [...wanted, ...others];
  const isDone =
    present.length === certificates.length && wanted.every((one) => isIn(present, one));
  return { certificates, isDone };
}

function isOfRollover(
  one: ChainCertificate,
  { old, next }: Pick<RolloverNode, RolloverSide>,
): boolean {
  return haveSameKey(one, old.certificate) || haveSameKey(one, next.certificate);
}
