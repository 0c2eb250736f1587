import type { CaPin } from './ca-pin.ts';
import { kubeletServingSigner } from './certificate-spec.ts';
import type { AgentConfig } from './config.ts';
import { formatHostPort } from './host-port.ts';

/**
 * The default remedy for each code of errors.ts, for errors without a more precise remedy. A code
 * without an entry here does not compile.
 */
export const remedies = {
  USAGE: 'See: nodecertd --help',
  CONFIG_UNREADABLE: 'Make the configuration file readable by the user of the agent',
  CONFIG_INVALID:
    'Correct the key that the error names, then check the file: nodecertd run --check',
  KUBECONFIG_MISSING: 'Create the kubeconfig at the path in the configuration',
  KUBECONFIG_INVALID: 'Correct the kubeconfig, or replace it with a valid one from your cluster',
  KUBECONFIG_UNSUPPORTED:
    'Configure a token, a tokenFile or a client certificate with its key in the kubeconfig',
  CREDENTIAL_EXPIRED: 'Provide a bootstrap kubeconfig with a valid token',
  PLUGIN_FAILED:
    'Run the exec plugin of the kubeconfig as root and correct the error that it reports',
  API_UNREACHABLE: 'Check that the API server runs and that this node can connect to it',
  API_TIMEOUT: 'Check the load of the API server and the network between it and this node',
  API_UNTRUSTED: 'Check that the CA in the kubeconfig signed the certificate of the API server',
  API_BAD_RESPONSE:
    'Check that the server URL in the kubeconfig belongs to a Kubernetes API server',
  API_BAD_REQUEST: 'Correct the setting that the API server rejects',
  API_UNAUTHORIZED: 'Check whether the credential has expired or belongs to another cluster',
  API_ANONYMOUS: 'Configure the load balancer in front of the API server to pass TLS through',
  API_FORBIDDEN:
    'Grant the missing permission; list the existing ones: kubectl auth can-i --list --as USER',
  API_NOT_FOUND: 'Check that the API server serves certificates.k8s.io/v1: kubectl api-versions',
  API_CONFLICT: 'Find and delete the conflicting CSR: kubectl get csr; kubectl delete csr NAME',
  API_GONE: 'Do nothing; nodecertd reads the objects again',
  API_THROTTLED: 'Find the clients that overload the API server, if the failures continue',
  API_SERVER_ERROR: 'Read the logs of the API server and etcd',
  CLUSTER_UNTRUSTED:
    'Ask the cluster administrator for the hash of the CA key: kubeadm token create --print-join-command',
  TOKEN_REJECTED:
    'Create another bootstrap token on a control-plane node: kubeadm token create --print-join-command',
  CSR_DENIED: 'Ask the cluster administrator why: kubectl describe csr',
  CSR_FAILED: 'Read the error message of the signer: kubectl describe csr',
  CSR_DELETED:
    'Find the program that deletes pending CSRs, and check that an approver runs: kubectl get csr',
  CERT_MALFORMED: 'Check the controller of this signer: kubectl describe csr',
  CERT_KEY_MISMATCH:
    'Check that no other program writes the PEM files or answers the CSRs of this node',
  CERT_SUBJECT_MISMATCH: 'Find out why the controller of this signer changes the subject',
  CERT_SAN_MISMATCH: 'Find out why the controller of this signer changes the SANs',
  CERT_USAGE_MISMATCH: 'Find out why the controller of this signer changes the usages',
  CERT_NOT_YET_VALID: 'Check the clocks of this node and of the signer: timedatectl',
  CERT_EXPIRED: 'Check the clocks of this node and of the signer: timedatectl',
  CERT_UNTRUSTED: 'Check that --client-ca-file of the API server contains the CA of the signer',
  PAIR_MALFORMED: 'Remove the file that the error names; nodecertd then requests a new certificate',
  STORE_LOCKED: 'Stop the other agent, or configure another certificate directory',
  STORE_PERMISSIONS: 'Make the user of the agent the owner of the certificate directory',
  STORE_VOLATILE: 'Configure a certificate directory that survives a reboot',
  STORE_FULL: 'Free space or inodes on the file system of the certificate directory',
  STORE_IO: 'Check the disk of the certificate directory: dmesg',
  HOOK_FAILED: 'Read the hook_output lines, and run the hook by hand with the same arguments',
  HOOK_TIMEOUT: 'Find out what the hook waits for, or raise its timeout in the configuration',
  SERVED_STALE: 'Read the log of the server and the hook lines, then reload or restart the server',
  BOOTSTRAP_EXISTS: 'Replace the file with --force, or set --output or --ca-file to another path',
  NODE_EXISTS:
    'Rename this machine (hostnamectl set-hostname NAME), or ignore the Node with --force',
  FILE_CHANGED: 'Run the command again; it reads the new content',
  COMPONENT_RESTART: 'Find out why the component does not start: crictl ps --all',
  CA_EXTERNAL: 'Create CSRs for the owner of the CA: nodecertd certs renew --due --csr-out DIR',
  CLOCK_UNTRUSTED: 'Check that a time service keeps the clock of this node right: timedatectl',
  LEASE_LOST: 'Check the API server and its load; the next call renews what remains',
  TRUST_REFUSED: 'Correct the CAs of the source that the message names',
  KUBELET_RESTART: 'Find out why the kubelet does not start: journalctl -u kubelet -n 50',
  KEY_UNSUPPORTED: 'Configure another key algorithm, such as ecdsa-p256',
  ENROLLER_LOST:
    'Read the log lines before this one, and check for the out-of-memory killer: dmesg',
  ENROLLER_HUNG:
    'Find the file system or device that does not respond: dmesg; ps -eo pid,stat,wchan,args',
  METRICS_LISTEN: 'Set metrics.address to a free address of this machine',
  CONTROL_LISTEN: 'Make the state directory writable by the user of the agent',
  AGENT_UNREACHABLE: 'Start the agent: systemctl start nodecertd',
  RENEWAL_PENDING: 'Check the state of the certificate: nodecertd status',
  ABORTED: 'Do nothing; the agent is stopping',
  INTERNAL: 'Report this bug in nodecertd, with the log lines before this one',
} as const;

/** For a CSR that waits, and whose annotation does not say why. */
export function approvalRemedy(csr: string, signerName: string): string {
  const approve = `Approve it: kubectl certificate approve ${csr}`;
  if (signerName !== kubeletServingSigner) return approve;
  return `${approve}; if nodecertd approver runs in the cluster, it tells an administrator why the CSR waits: nodecertd approver explain ${csr}`;
}

export function newTokenRemedy(file: string): string {
  return `Put a new bootstrap token into ${file}: kubeadm token create`;
}

/** The command that writes a bootstrap kubeconfig. Capitals stand for values that only an administrator of the cluster knows. */
export function discoverCommand({
  endpoints,
  tokenFile = 'FILE',
  output = defaultBootstrapKubeconfig,
  pins = [],
}: {
  readonly endpoints: readonly string[];
  readonly tokenFile?: string | undefined;
  readonly output?: string | undefined;
  /** The CAs of the cluster that the node knows. */
  readonly pins?: readonly CaPin[];
}): string {
  return [
    'nodecertd discover',
    ...endpoints.map((endpoint) => `--endpoint ${endpoint}`),
    `--token-file ${tokenFile}`,
    hashFlag(pins),
    ...(output === defaultBootstrapKubeconfig ? [] : [`--output ${output}`]),
  ].join(' ');
}

function hashFlag(pins: readonly CaPin[]): string {
  // A node that knows one CA usually needs the command because the cluster has another one.
  const hashes = pins.length > 1 ? pins : [...pins, 'sha256:HEX'];
  return `--ca-cert-hash ${hashes.join(' ')}`;
}

/** Adds the CAs that the node knows to a command in a remedy. */
export function withPins(remedy: string, pins: readonly CaPin[]): string {
  return remedy.replace(hashFlag([]), hashFlag(pins));
}

/**
 * Where `discover` writes by default: the default of kubeadm, and `bootstrapKubeconfig` in the
 * configuration of the package.
 */
export const defaultBootstrapKubeconfig = '/etc/kubernetes/bootstrap-kubelet.conf';

/**
 * Brings a node back that cannot verify its API server.
 * @param server the URL of the API server in a kubeconfig, if `bootstrap.discovery` names none
 */
export function discoverRemedy(
  { bootstrapKubeconfig, bootstrap }: Pick<AgentConfig, 'bootstrapKubeconfig' | 'bootstrap'>,
  server?: string,
  pins: readonly CaPin[] = [],
): string {
  const { discovery } = bootstrap;
  const endpoints = discovery?.endpoints.map(formatHostPort) ?? [endpointOf(server)];
  const command = discoverCommand({
    endpoints,
    tokenFile: discovery?.tokenFile,
    output: bootstrapKubeconfig,
    pins,
  });
  const found =
    'with a token and the hash of each CA (on a control-plane node: kubeadm token create --print-join-command)';
  const set =
    bootstrapKubeconfig === undefined
      ? `; then set bootstrapKubeconfig: ${defaultBootstrapKubeconfig} in the configuration`
      : '';
  return `Run this on the node, ${found}: ${command}${set}`;
}

/** The host and port of a URL. */
export function endpointOf(server: string | undefined): string {
  const url = server === undefined ? null : URL.parse(server);
  return url === null ? 'HOST:PORT' : `${url.hostname}:${url.port || '443'}`;
}
