/**
 * The folders of src/: what each holds, and what it may import besides itself. The
 * linter (.oxlint.config.ts), test/layers.test.ts and the table in
 * docs/architecture.md all follow this one table.
 */
export const layers = {
  core: {
    holds: 'pure decisions: schedule, rotation, timing, identity, CSR, X.509, errors',
    imports: [],
  },
  sys: { holds: 'clock, log, files, processes, systemctl, memory', imports: ['core'] },
  kube: {
    holds: 'kubeconfig, REST and watch client, CSRs, Nodes, Leases, status errors',
    imports: ['core', 'sys'],
  },
  kubelet: {
    holds: 'the kubelet of this machine: configuration, drop-ins, flags, process',
    imports: ['core', 'sys'],
  },
  store: {
    holds:
      'atomic files, key pairs, links, locks, kubeconfig and state files, copies of changed files',
    imports: ['core', 'sys'],
  },
  keeper: {
    holds: 'the long-lived process: schedule, rotation state, file watches, hooks',
    imports: ['core', 'sys'],
  },
  enroller: {
    holds: 'the process that holds private keys and talks to the API server',
    imports: ['core', 'sys', 'store', 'kube', 'kubelet', 'discovery'],
  },
  doctor: {
    holds: 'the checks of `doctor`: what can keep a node from its certificates',
    imports: ['core', 'sys', 'store', 'kube', 'kubelet'],
  },
  adopt: {
    holds: "taking over a kubelet's certificates, and reverting",
    imports: ['core', 'sys', 'store', 'kube', 'kubelet', 'doctor'],
  },
  pki: {
    holds:
      'the certificates under /etc/kubernetes: components, inventory, renewal, unattended renewal',
    imports: ['core', 'sys', 'store', 'kube', 'kubelet'],
  },
  approver: {
    holds: '`nodecertd approver`: leader election, watches, and the policy for serving CSRs',
    imports: ['core', 'sys', 'kube'],
  },
  discovery: {
    holds: 'verified discovery of a cluster from a bootstrap token and the hashes of its CAs',
    imports: ['core', 'sys', 'store', 'kube'],
  },
  trust: {
    holds: 'the CAs that this node trusts, and the gates and steps of a CA rollover',
    imports: ['core', 'sys', 'store', 'kube', 'kubelet', 'pki', 'discovery'],
  },
  metrics: { holds: 'metrics, health and the status page', imports: ['core', 'sys'] },
  control: { holds: 'the socket on which root controls a running agent', imports: ['core', 'sys'] },
  config: { holds: 'configuration: schema, loading, errors with file and line', imports: ['core'] },
} as const satisfies Record<string, Layer>;

export interface Layer {
  readonly holds: string;
  readonly imports: readonly string[];
}

/** These may import every folder, except that commands reach the keeper through app. */
export const unrestricted = {
  cli: { holds: 'one file per command', mayNotImport: ['keeper'] },
  app: { holds: 'composition: creates and connects the parts of a process', mayNotImport: [] },
} as const;

/** The only files and folders that may import these packages. */
export const doors = [
  { packages: ['@peculiar'], folder: 'core', file: 'src/core/x509.ts' },
  { packages: ['undici'], folder: 'kube' },
] as const;
