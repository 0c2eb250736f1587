import { dirname, join } from 'node:path';
import { defaultDirectories } from '../../pki/layout.ts';

/** What the commands of a plan contain of a cluster. */
export interface RolloverShell {
  /** The name of the cluster in the kubeconfigs of kubeadm. */
  readonly clusterName: string;
  /** `/etc/kubernetes/pki` */
  readonly certificates: string;
}

const administrator = 'kubectl --kubeconfig /etc/kubernetes/admin.conf';

/** Creates the new CA, and the bridge, which is its key certified by the old CA. */
export function createCommands({ certificates }: RolloverShell): string[] {
  const folder =
    certificates === defaultDirectories.certificates ? '' : ` --cert-dir ${certificates}`;
  return [`nodecertd ca-rollover apply create --ca kubernetes --yes${folder}`];
}

/** The files of the step `create`. */
export function createdFiles({ certificates }: Pick<RolloverShell, 'certificates'>): string[] {
  return ['ca-next.crt', 'ca-next.key', 'ca-bridge.crt'].map((name) => join(certificates, name));
}

/** Copies the files of the step `create` to the other control-plane nodes. */
export function copyCommands(files: readonly string[], nodes: readonly string[]): string[] {
  const folder = dirname(files[0] ?? '');
  return nodes.map((node) => `scp -p ${files.join(' ')} ${node}:${folder}/`);
}

/**
 * ca.crt must not have two certificates while kube-controller-manager signs with it: it would sign
 * nothing. So it gets a file of its own first.
 */
export function trustCommands(shell: RolloverShell): string[] {
  const { certificates } = shell;
  return [
    ...lines(`
cd ${certificates}
if [ ! -e ca-signing.crt ]; then cp -p ca.key ca-signing.key; cp -p ca.crt ca-signing.crt; fi
cat ca-signing.crt ca-next.crt > ca-bundle.crt`),
    trustIn('controller-manager', 'ca-bundle.crt', shell),
    ...managerFlags(
      { cert: 'ca-signing.crt', key: 'ca-signing.key', root: 'ca-bundle.crt' },
      shell,
    ),
    ...replace('ca.crt', 'cp -p ca-bundle.crt'),
    trustIn('scheduler', 'ca-bundle.crt', shell),
    ...restart('kube-scheduler'),
    ...administrators((name) => [trustIn(name, 'ca-bundle.crt', shell)]),
  ];
}

/** The CA that issues from now on, by the name of its files. */
type Issuing = 'ca-next' | 'ca-previous';

/** kubeadm signs with the pair in `next`, and puts only that CA into the kubeconfigs. */
export function switchCommands(shell: RolloverShell): string[] {
  return [
    ...renewServing('ca-next', shell),
    'if [ -e ca-bridge.crt ]; then cat ca-bridge.crt >> next/apiserver.crt; fi',
    ...useRenewed,
    'if [ ! -e ca-previous.crt ]; then cp -p ca-signing.key ca-previous.key; cp -p ca-signing.crt ca-previous.crt; fi',
    ...issueWith('ca-next', 'cat ca-next.crt ca-previous.crt', shell),
  ];
}

/** The reverse of `switchCommands`. Both CAs are trusted, so the old one needs no bridge. */
export function switchBackCommands(shell: RolloverShell): string[] {
  return [
    ...renewServing('ca-previous', shell),
    ...useRenewed,
    ...issueWith('ca-previous', 'cat ca-bundle.crt', shell),
  ];
}

function renewServing(ca: Issuing, { certificates }: RolloverShell): string[] {
  return lines(`
cd ${certificates}
mkdir -p -m 700 next
cp -p ${ca}.crt next/ca.crt
cp -p ${ca}.key next/ca.key
cp -p apiserver.crt apiserver.key apiserver-kubelet-client.crt apiserver-kubelet-client.key next/
kubeadm certs renew apiserver-kubelet-client --cert-dir ${certificates}/next
kubeadm certs renew apiserver --cert-dir ${certificates}/next`);
}

const useRenewed = [
  'mv next/apiserver-kubelet-client.key .',
  'mv next/apiserver-kubelet-client.crt .',
  'mv next/apiserver.key .',
  'mv next/apiserver.crt .',
];

function issueWith(ca: Issuing, bundle: string, shell: RolloverShell): string[] {
  const renewed = (name: string): string[] => [
    `kubeadm certs renew ${name}.conf --cert-dir ${shell.certificates}/next`,
    trustIn(name, 'ca-bundle.crt', shell),
  ];
  return [
    ...replace('ca-signing.key', `cp -p ${ca}.key`),
    ...replace('ca-signing.crt', `cp -p ${ca}.crt`),
    ...replace('ca.key', `cp -p ${ca}.key`),
    `${bundle} > ca.crt.new`,
    'mv ca.crt.new ca.crt',
    ...renewed('controller-manager'),
    ...restart('kube-controller-manager'),
    ...renewed('scheduler'),
    ...restart('kube-scheduler'),
    ...administrators(renewed),
    'rm -r next',
  ];
}

export function finishCommands(shell: RolloverShell): string[] {
  return [
    ...trustAlone('ca-next', shell),
    'openssl x509 -in apiserver.crt -out apiserver.crt.new',
    'mv apiserver.crt.new apiserver.crt',
    'rm -f ca-signing.* ca-bundle.crt ca-next.* ca-bridge.crt',
    'shred -u ca-previous.key',
    'rm ca-previous.crt',
  ];
}

/** The reverse of `trustCommands`. kube-controller-manager signs with the old CA, in ca-signing. */
export function distrustCommands(shell: RolloverShell): string[] {
  return [
    ...trustAlone('ca-signing', shell),
    'rm -f ca-signing.* ca-bundle.crt ca-next.* ca-bridge.crt ca-previous.*',
  ];
}

function trustAlone(ca: 'ca-next' | 'ca-signing', shell: RolloverShell): string[] {
  return [
    `cd ${shell.certificates}`,
    ...replace('ca.crt', `cp -p ${ca}.crt`),
    trustIn('controller-manager', 'ca.crt', shell),
    ...managerFlags({ cert: 'ca.crt', key: 'ca.key', root: 'ca.crt' }, shell),
    trustIn('scheduler', 'ca.crt', shell),
    ...restart('kube-scheduler'),
    ...administrators((name) => [trustIn(name, 'ca.crt', shell)]),
  ];
}

/** Prints the commands for a node that was off until the others had done `finish`. */
export function returnCommand(node: string): string {
  return `nodecertd ca-rollover plan --return ${node}`;
}

/** With admin.conf, the node can connect to the other API servers before it has certificates from the new CA. */
export function copyFinishedCommands({ certificates }: RolloverShell, node: string): string[] {
  const files = ['ca.crt', 'ca.key'].map((name) => join(certificates, name));
  const folder = dirname(certificates);
  return [...copyCommands(files, [node]), ...copyCommands([join(folder, 'admin.conf')], [node])];
}

/**
 * For a node that was off until the others had done `finish`. It may have begun the rollover itself, so
 * this also restores the flags of kubeadm and removes files of the rollover.
 */
export function returnCommands(shell: RolloverShell, node: string): string[] {
  const { certificates } = shell;
  const renew = (name: string): string => `kubeadm certs renew ${name} --cert-dir ${certificates}`;
  const names = 'apiserver apiserver-kubelet-client controller-manager.conf scheduler.conf';
  return [
    `cd ${certificates}`,
    `for name in ${names} admin.conf; do ${renew('$name')}; done`,
    `if [ -e ../super-admin.conf ]; then ${renew('super-admin.conf')}; fi`,
    ...managerFlags({ cert: 'ca.crt', key: 'ca.key', root: 'ca.crt' }, shell),
    ...restart('kube-controller-manager'),
    ...restart('kube-scheduler'),
    ...renewKubelet(shell, node),
    'rm -rf ca-signing.* ca-bundle.crt ca-next.* ca-bridge.crt ca-previous.* ../.nodecertd-rollover',
    forgetCommand,
  ];
}

/**
 * The API servers reject its certificate, so it cannot request another one. kubelet.conf keeps its form:
 * it names the file of the certificate, which the kubelet or nodecertd replaces later.
 */
function renewKubelet({ certificates }: RolloverShell, node: string): string[] {
  const config = join(dirname(certificates), 'kubelet.conf');
  return lines(`
${administrator} -n kube-system get configmap kubeadm-config -o jsonpath='{.data.ClusterConfiguration}' > /run/kubeadm-config.yaml
umask 077
kubeadm kubeconfig user --config /run/kubeadm-config.yaml --org system:nodes --client-name system:node:${node} > /run/kubelet.conf
pem=/var/lib/kubelet/pki/kubelet-client-$(date +%Y-%m-%d-%H-%M-%S).pem
for part in certificate key; do kubectl config view --kubeconfig /run/kubelet.conf --raw -o jsonpath="{.users[0].user.client-$part-data}" | base64 -d >> $pem; done
rm /run/kubelet.conf
ln -sfn $pem /var/lib/kubelet/pki/kubelet-client-current.pem
kubectl config set-cluster $(kubectl config view --kubeconfig ${config} -o jsonpath='{.clusters[0].name}') --kubeconfig ${config} --certificate-authority ca.crt --embed-certs
systemctl restart kubelet
${administrator} wait --for condition=Ready --timeout 2m node/${node}`);
}

/** cluster-info has one line with the CAs, in a kubeconfig. */
export function clusterInfoCommand(file: string, { certificates }: RolloverShell): string {
  const data = `$(base64 -w0 ${join(certificates, file)})`;
  return `${administrator} -n kube-public get configmap cluster-info -o yaml | sed "s#\\(certificate-authority-data: \\).*#\\1${data}#" | ${administrator} replace -f -`;
}

/** kube-apiserver writes it again at once, without the old CA. */
export const forgetCommand = `${administrator} -n kube-system delete configmap extension-apiserver-authentication`;

/** By a rename, because a half-written bundle is a file with the first CA alone. */
function replace(file: string, copy: string): string[] {
  return [`${copy} ${file}.new`, `mv ${file}.new ${file}`];
}

function trustIn(name: string, file: string, { clusterName, certificates }: RolloverShell): string {
  const config = join(dirname(certificates), `${name}.conf`);
  return `kubectl config set-cluster ${clusterName} --kubeconfig ${config} --certificate-authority ${file} --embed-certs`;
}

/** Only the first control-plane node has super-admin.conf. */
function administrators(commandsFor: (name: string) => readonly string[]): string[] {
  return [
    `if [ -e ../super-admin.conf ]; then ${commandsFor('super-admin').join('; ')}; fi`,
    ...commandsFor('admin'),
  ];
}

interface ManagerFiles {
  readonly cert: string;
  readonly key: string;
  readonly root: string;
}

/** The kubelet restarts kube-controller-manager, which then also reads its kubeconfig. */
function managerFlags(
  { cert, key, root }: ManagerFiles,
  { certificates }: RolloverShell,
): string[] {
  const flags = {
    'cluster-signing-cert-file': cert,
    'cluster-signing-key-file': key,
    'root-ca-file': root,
  };
  const edits = Object.entries(flags).map(
    ([flag, file]) => `-e 's#\\(--${flag}=\\).*#\\1${join(certificates, file)}#'`,
  );
  const manifests = join(dirname(certificates), 'manifests');
  const name = 'kube-controller-manager.yaml';
  return [
    `sed ${edits.join(' ')} ${manifests}/${name} > ../${name}`,
    `chmod 600 ../${name}`,
    `mv ../${name} ${manifests}/`,
    `until crictl inspect $(crictl ps --quiet --name kube-controller-manager) 2> /dev/null | grep -q -e '--root-ca-file=${join(certificates, root)}"'; do sleep 1; done`,
    healthy('kube-controller-manager'),
  ];
}

/** The kubelet starts the container again at once. */
function restart(component: RestartedComponent): string[] {
  return [`crictl stop $(crictl ps --quiet --name ${component})`, healthy(component)];
}

const ports = { 'kube-controller-manager': 10_257, 'kube-scheduler': 10_259 } as const;
type RestartedComponent = keyof typeof ports;

function healthy(component: RestartedComponent): string {
  const health = `${administrator} --server https://127.0.0.1:${ports[component]} --insecure-skip-tls-verify get --raw /healthz`;
  return `until ${health} > /dev/null 2>&1; do sleep 1; done`;
}

function lines(text: string): string[] {
  return text.trim().split('\n');
}
