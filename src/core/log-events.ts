import type { Finding } from './enroller-protocol.ts';
import type { Failure } from './errors.ts';

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

interface LogEventDefinition {
  readonly level: LogLevel;
  /** Fixed text; everything that varies is a field. */
  readonly message: string;
}

/**
 * Every event that the agent can log. Names and messages must not change, because operators
 * search for them and alert on them. docs/logs.md explains each event; a test compares the two.
 */
export const logEvents = {
  // the daemon
  agent_started: { level: 'info', message: 'Certificate rotation is enabled' },
  agent_stopping: { level: 'info', message: 'Stopping' },
  agent_stopped: { level: 'info', message: 'Stopped' },
  agent_failed: { level: 'error', message: 'The agent cannot run' },
  metrics_listening: { level: 'info', message: 'Metrics and health endpoints are listening' },
  control_unavailable: {
    level: 'warn',
    message: 'Commands such as renew cannot reach the agent',
  },
  config_changed: {
    level: 'warn',
    message: 'The configuration changed on disk; reload to apply it',
  },
  config_reloaded: { level: 'info', message: 'Configuration reloaded' },
  config_refused: {
    level: 'error',
    message: 'Configuration rejected; the previous one stays in use',
  },
  config_warning: { level: 'warn', message: 'Configuration warning' },
  state_unreadable: { level: 'warn', message: 'The state file is unusable and was set aside' },
  state_unwritable: { level: 'warn', message: 'The state file cannot be written' },
  state_writable: { level: 'info', message: 'The state file can be written again' },
  lock_unavailable: { level: 'warn', message: 'The certificate directory cannot be locked' },
  lock_renewed: {
    level: 'warn',
    message: 'The certificate directory was recreated and is locked again',
  },
  loop_stuck: { level: 'error', message: 'The rotation loop is stuck' },
  loop_resumed: { level: 'info', message: 'The rotation loop runs again' },
  clock_jumped: { level: 'warn', message: 'The clock was set, or the machine was suspended' },
  preflight_finding: { level: 'warn', message: 'A preflight check found a problem' },
  inventory_scan_failed: {
    level: 'warn',
    message: 'The inventory could not be taken; /metrics keeps the previous one',
  },
  inventory_scan_recovered: { level: 'info', message: 'The inventory can be taken again' },
  host_name_missing: {
    level: 'warn',
    message: 'Waiting for a host name that can name a Node',
  },
  // the unattended renewal of control-plane certificates
  pki_renewed: { level: 'info', message: 'Control-plane certificates renewed' },
  pki_renewed_without_lease: {
    level: 'warn',
    message: 'Control-plane certificates were renewed without the Lease',
  },
  pki_waiting: { level: 'info', message: 'The renewal of control-plane certificates is waiting' },
  pki_refused: {
    level: 'error',
    message: 'The renewal of control-plane certificates is refused',
  },
  pki_failed: { level: 'error', message: 'The renewal of control-plane certificates failed' },
  pki_problem: {
    level: 'warn',
    message: 'A control-plane certificate has a problem that a renewal does not solve',
  },
  pki_recovered: {
    level: 'info',
    message: 'The renewal of control-plane certificates works again',
  },
  // the CAs that this node trusts
  trust_changed: { level: 'info', message: 'The CAs that this node trusts were written' },
  trust_stage: { level: 'info', message: 'The stage of the CA rollover on this node changed' },
  trust_waiting: { level: 'info', message: 'The check of the trusted CAs is waiting' },
  trust_refused: { level: 'error', message: 'CAs from a source are refused' },
  trust_failed: { level: 'error', message: 'The check of the trusted CAs failed' },
  trust_finding: { level: 'warn', message: 'The check of the trusted CAs found a problem' },
  trust_recovered: { level: 'info', message: 'The check of the trusted CAs works again' },
  issuer_behind: {
    level: 'info',
    message: 'The signer uses another CA; the certificate will be requested again',
  },
  issuer_behind_over: {
    level: 'info',
    message: 'The certificate was issued by the CA that its signer uses',
  },
  waiting_for_signer: {
    level: 'warn',
    message: 'The signer used the old CA again; retrying later',
  },
  // rotation
  rotation_deadline: { level: 'info', message: 'Certificate rotation deadline determined' },
  rotation_waiting: { level: 'info', message: 'Waiting for next certificate rotation' },
  rotation_started: { level: 'info', message: 'Rotating certificates' },
  rotation_failed: { level: 'error', message: 'Certificate rotation failed' },
  rotation_recovered: { level: 'info', message: 'Certificate rotation works again' },
  rotation_overdue: { level: 'error', message: 'Certificate rotation is overdue' },
  rotation_overdue_over: { level: 'info', message: 'Certificate rotation is no longer overdue' },
  certificate_stored: { level: 'info', message: 'Certificate stored and linked' },
  certificate_lifetime_short: {
    level: 'warn',
    message: 'The signer issued a shorter lifetime than requested',
  },
  lifetime_too_short_for_kubelet: {
    level: 'warn',
    message: 'The kubelet may load the next client certificate only after this one has expired',
  },
  waiting_for_addresses: { level: 'warn', message: 'Waiting for the addresses of the Node' },
  waiting_for_identity: { level: 'info', message: 'Waiting for the client certificate' },
  addresses_changed: { level: 'info', message: 'The addresses of the Node changed' },
  addresses_failed: { level: 'warn', message: 'The addresses of the Node could not be read' },
  addresses_recovered: {
    level: 'info',
    message: 'The addresses of the Node can be read again',
  },
  // certificate signing requests
  csr_created: { level: 'info', message: 'Certificate signing request created' },
  csr_approved: {
    level: 'info',
    message: 'Certificate signing request is approved, waiting to be issued',
  },
  csr_issued: { level: 'info', message: 'Certificate signing request is issued' },
  csr_pending: { level: 'warn', message: 'Certificate signing request is waiting for approval' },
  csr_unissued: {
    level: 'warn',
    message: 'Certificate signing request is approved but not issued',
  },
  csr_wait_retrying: {
    level: 'warn',
    message: 'Lost contact with the API server while waiting for the CSR; retrying',
  },
  csr_wait_recovered: {
    level: 'info',
    message: 'Recovered contact with the API server while waiting for the CSR',
  },
  csr_unfinished: {
    level: 'warn',
    message: 'Earlier runs left unfinished CSRs; the next CSR may be delayed',
  },
  // key pairs on disk
  deferring_to_kubelet: {
    level: 'warn',
    message: 'The kubelet rotates this certificate; nodecertd only observes it',
  },
  deferring_to_kubelet_over: {
    level: 'info',
    message: 'The kubelet no longer rotates this certificate; nodecertd does',
  },
  pair_observed: { level: 'info', message: 'The kubelet rotated the certificate' },
  pair_changed: { level: 'warn', message: 'Another program changed the certificate' },
  swap_completed: { level: 'warn', message: 'An interrupted update of the link was completed' },
  pair_adopted: { level: 'info', message: 'An existing key pair is in use' },
  pair_set_aside: { level: 'warn', message: 'An unusable PEM file was set aside' },
  link_repaired: { level: 'warn', message: 'The link to the current key pair was repaired' },
  pair_rolled_back: {
    level: 'warn',
    message: 'Rolled back to the previous key pair',
  },
  pair_pruned: { level: 'debug', message: 'An old key pair was removed' },
  permissions_tightened: { level: 'warn', message: 'Permissions were tightened' },
  stray_removed: { level: 'debug', message: 'A leftover temporary file was removed' },
  cleanup_failed: { level: 'warn', message: 'Cleanup after storing a key pair failed' },
  // after a rotation
  hook_started: { level: 'debug', message: 'Hook started' },
  hook_output: { level: 'info', message: 'Hook output' },
  hook_succeeded: { level: 'info', message: 'Hook succeeded' },
  hook_retrying: { level: 'warn', message: 'Hook failed; retrying' },
  hook_failed: { level: 'error', message: 'Hook failed' },
  hook_recovered: { level: 'info', message: 'Hook works again' },
  hooks_pending: { level: 'info', message: 'Running the pending hooks of an earlier run' },
  hooks_refused: {
    level: 'error',
    message: 'Hooks are disabled because another user can change the configuration',
  },
  served_checked: { level: 'info', message: 'The served certificate matches the one on disk' },
  served_stale: {
    level: 'error',
    message: 'The served certificate does not match the one on disk',
  },
  served_recovered: {
    level: 'info',
    message: 'The served certificate matches the one on disk again',
  },
  served_unchecked: { level: 'warn', message: 'The served certificate could not be checked' },
  rollback_failed: { level: 'error', message: 'Rollback failed' },
  // the enroller process
  enroller_started: { level: 'debug', message: 'Enroller started' },
  enroller_stopped: { level: 'debug', message: 'Enroller stopped' },
  enroller_lost: { level: 'error', message: 'Enroller ended unexpectedly' },
  enroller_hung: { level: 'error', message: 'Enroller stopped answering and was killed' },
  // the API server
  api_request: { level: 'debug', message: 'API request' },
  credential_chosen: { level: 'info', message: 'Credential chosen' },
  discovery_progress: { level: 'info', message: 'Looking for the cluster' },
  cluster_discovered: { level: 'info', message: 'Cluster found and verified' },
  identity_refused: {
    level: 'warn',
    message: 'The API server rejects the client certificate; requesting another one',
  },
  bootstrap_removed: { level: 'info', message: 'Bootstrap file removed' },
  bootstrap_kept: { level: 'warn', message: 'Bootstrap file could not be removed' },
  kubeconfig_stale: {
    level: 'warn',
    message: 'The kubeconfig uses another certificate; programs that read it will lose access',
  },
  kubeconfig_written: { level: 'info', message: 'Kubeconfig written' },
  kubeconfig_replaced: {
    level: 'warn',
    message: 'Kubeconfig replaced; a copy of the previous one is kept',
  },
  kubeconfig_set_aside: { level: 'warn', message: 'A corrupt kubeconfig was set aside' },
  kubeconfig_unusable: { level: 'error', message: 'The kubelet cannot use the kubeconfig' },
  kubeconfig_usable: { level: 'info', message: 'The kubelet can use the kubeconfig again' },
  connection_insecure: {
    level: 'warn',
    message: 'The certificate of the API server is NOT verified (insecure-skip-tls-verify)',
  },
  clock_skew: { level: 'warn', message: 'The clocks of this node and the API server differ' },
  clock_skew_over: {
    level: 'info',
    message: 'The clocks of this node and the API server agree again',
  },
  // the approver
  approver_started: { level: 'info', message: 'The approver is running' },
  approver_stopped: { level: 'info', message: 'The approver stopped' },
  approver_failed: { level: 'error', message: 'The approver cannot run' },
  approver_leading: { level: 'info', message: 'This replica leads and approves or denies CSRs' },
  approver_standby: { level: 'info', message: 'Another replica leads and approves or denies CSRs' },
  approver_retrying: { level: 'warn', message: 'A request of the approver failed; retrying' },
  approver_recovered: { level: 'info', message: 'A request of the approver works again' },
  csr_decided: { level: 'info', message: 'Serving CSR decided' },
  csr_held: { level: 'info', message: 'Serving CSR is held' },
  csr_ignored: {
    level: 'warn',
    message: 'Serving CSR ignored because its requestor is not a node',
  },
  decision_refused: { level: 'warn', message: 'The API server refused a decision' },
  policy_reloaded: { level: 'info', message: 'Approver policy reloaded' },
  policy_refused: {
    level: 'error',
    message: 'Approver policy or inventory rejected; its last valid version stays in use',
  },
} as const satisfies Readonly<Record<string, LogEventDefinition>>;

export type LogEvent = keyof typeof logEvents;

/** Plain values only, because an object could carry a secret into a line. */
export type LogFields = Readonly<
  Record<string, string | number | boolean | readonly string[] | undefined>
>;

const findingEvents: Readonly<Record<Finding['kind'], LogEvent>> = {
  'swap-completed': 'swap_completed',
  'pair-adopted': 'pair_adopted',
  'pair-set-aside': 'pair_set_aside',
  'link-repaired': 'link_repaired',
  'pair-rolled-back': 'pair_rolled_back',
  'pair-pruned': 'pair_pruned',
  'permissions-tightened': 'permissions_tightened',
  'stray-removed': 'stray_removed',
  'kubeconfig-written': 'kubeconfig_written',
  'kubeconfig-replaced': 'kubeconfig_replaced',
  'kubeconfig-set-aside': 'kubeconfig_set_aside',
  'bootstrap-removed': 'bootstrap_removed',
  'bootstrap-kept': 'bootstrap_kept',
  'cleanup-failed': 'cleanup_failed',
};

/** The log event for a finding of the store. */
export function findingEvent(kind: Finding['kind']): LogEvent {
  return findingEvents[kind];
}

/** The fields of a failure in every log line about one. */
export function failureFields({ code, message, remedy }: Failure): LogFields {
  return { code, error: message, ...(remedy !== undefined && { remedy }) };
}
