export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

interface LogEventDefinition {
  readonly level: LogLevel;
  /** Fixed text; everything that varies is a field. */
  readonly message: string;
}

/**
 * Every line the agent can log. Names and messages are stable, so that people can
 * search and alert on them; docs/logs.md explains each and a test keeps the two equal.
 */
export const logEvents = {
  // the daemon
  agent_started: { level: 'info', message: 'Certificate rotation is enabled' },
  agent_stopping: { level: 'info', message: 'Stopping' },
  agent_stopped: { level: 'info', message: 'Stopped' },
  agent_failed: { level: 'error', message: 'The agent cannot run' },
  metrics_listening: { level: 'info', message: 'Metrics and health are being served' },
  control_unavailable: {
    level: 'warn',
    message: 'Commands such as renew cannot reach the agent',
  },
  config_changed: {
    level: 'warn',
    message: 'The configuration changed on disk; reload to use it',
  },
  config_reloaded: { level: 'info', message: 'The configuration was read anew' },
  config_refused: {
    level: 'error',
    message: 'The new configuration is refused; the old one stays',
  },
  config_warning: { level: 'warn', message: 'The configuration deserves a look' },
  state_unreadable: { level: 'warn', message: 'The state file is unusable and was set aside' },
  state_unwritable: { level: 'warn', message: 'The state file cannot be written' },
  state_writable: { level: 'info', message: 'The state file can be written again' },
  lock_unavailable: { level: 'warn', message: 'The certificate directory could not be locked' },
  lock_renewed: {
    level: 'warn',
    message: 'The certificate directory was made anew, and is locked again',
  },
  loop_stuck: { level: 'error', message: 'The rotation loop stands still' },
  loop_resumed: { level: 'info', message: 'The rotation loop runs again' },
  clock_jumped: { level: 'warn', message: 'The clock was set, or the machine was suspended' },
  preflight_finding: { level: 'warn', message: 'The examination of the node found something' },
  host_name_missing: {
    level: 'warn',
    message: 'Waiting for a host name that can name a Node',
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
    message: 'The signer issued a shorter lifetime than was asked for',
  },
  lifetime_too_short_for_kubelet: {
    level: 'warn',
    message: 'The kubelet may read the next client pair only after this one has expired',
  },
  waiting_for_addresses: { level: 'warn', message: 'Waiting for the addresses of the node' },
  waiting_for_identity: { level: 'info', message: 'Waiting for the client certificate' },
  addresses_changed: { level: 'info', message: 'The addresses of the node changed' },
  addresses_failed: { level: 'warn', message: 'The addresses of the node could not be looked up' },
  addresses_recovered: {
    level: 'info',
    message: 'The addresses of the node can be looked up again',
  },
  // certificate signing requests
  csr_created: { level: 'info', message: 'Certificate signing request created' },
  csr_approved: {
    level: 'info',
    message: 'Certificate signing request is approved, waiting to be issued',
  },
  csr_issued: { level: 'info', message: 'Certificate signing request is issued' },
  csr_pending: { level: 'warn', message: 'Certificate signing request waits for an approver' },
  csr_unissued: {
    level: 'warn',
    message: 'Certificate signing request is approved and still not issued',
  },
  csr_wait_troubled: {
    level: 'warn',
    message: 'Waiting for the certificate signing request is disturbed',
  },
  csr_wait_resumed: {
    level: 'info',
    message: 'Waiting for the certificate signing request is no longer disturbed',
  },
  csr_left_behind: {
    level: 'warn',
    message: 'Requests of earlier runs came to nothing; the next one may be delayed',
  },
  // pairs on disk
  standing_back: {
    level: 'warn',
    message: 'The kubelet rotates this certificate; it is only watched',
  },
  standing_back_over: { level: 'info', message: 'This certificate is no longer only watched' },
  pair_seen: { level: 'info', message: 'The kubelet has replaced the certificate pair' },
  pair_changed: { level: 'warn', message: 'The certificate pair was changed by someone else' },
  swap_completed: { level: 'warn', message: 'An interrupted swap was completed' },
  pair_adopted: { level: 'info', message: 'An existing certificate pair was adopted' },
  pair_set_aside: { level: 'warn', message: 'An unusable certificate file was set aside' },
  link_repaired: { level: 'warn', message: 'The link to the current pair was repaired' },
  pair_rolled_back: {
    level: 'warn',
    message: 'The link was pointed back at the pair before the one that is not served',
  },
  pair_pruned: { level: 'debug', message: 'An old certificate pair was removed' },
  permissions_tightened: { level: 'warn', message: 'Permissions were tightened' },
  stray_removed: { level: 'debug', message: 'A left-over temporary file was removed' },
  cleanup_failed: { level: 'warn', message: 'Tidying up after a stored pair failed' },
  // what follows a rotation
  hook_started: { level: 'debug', message: 'Hook started' },
  hook_output: { level: 'info', message: 'Hook output' },
  hook_succeeded: { level: 'info', message: 'Hook succeeded' },
  hook_retrying: { level: 'warn', message: 'Hook failed, and is tried again' },
  hook_failed: { level: 'error', message: 'Hook failed' },
  hook_recovered: { level: 'info', message: 'Hook works again' },
  hooks_owed: { level: 'info', message: 'Hooks that an earlier run owed are made up for' },
  hooks_refused: {
    level: 'error',
    message: 'Hooks are not run, since others may change the configuration',
  },
  served_checked: { level: 'info', message: 'The certificate on disk is the one that is served' },
  served_stale: {
    level: 'error',
    message: 'The certificate on disk is not the one that is served',
  },
  served_recovered: { level: 'info', message: 'The certificate on disk is served again' },
  served_unchecked: { level: 'warn', message: 'What is served could not be looked at' },
  rollback_failed: { level: 'error', message: 'There is no way back to the pair before' },
  // the enroller process
  enroller_started: { level: 'debug', message: 'Enroller started' },
  enroller_stopped: { level: 'debug', message: 'Enroller stopped' },
  enroller_lost: { level: 'error', message: 'Enroller ended unexpectedly' },
  enroller_hung: { level: 'error', message: 'Enroller stopped answering and was killed' },
  // the API server
  api_request: { level: 'debug', message: 'API request' },
  credential_chosen: { level: 'info', message: 'Credential chosen' },
  kubeconfig_stale: {
    level: 'warn',
    message: 'The kubeconfig does not use the pair that is kept; its other users will lose access',
  },
  kubeconfig_written: { level: 'info', message: 'Kubeconfig written' },
  kubeconfig_replaced: {
    level: 'warn',
    message: 'Kubeconfig replaced; a copy of the previous one is kept',
  },
  kubeconfig_set_aside: { level: 'warn', message: 'A damaged kubeconfig was set aside' },
  kubeconfig_unusable: { level: 'error', message: 'The kubelet cannot use the kubeconfig' },
  kubeconfig_usable: { level: 'info', message: 'The kubeconfig can be used again' },
  connection_insecure: {
    level: 'warn',
    message: 'The certificate of the API server is NOT verified (insecure-skip-tls-verify)',
  },
  clock_skew: { level: 'warn', message: 'The clocks of node and API server differ' },
  clock_skew_over: { level: 'info', message: 'The clocks of node and API server agree again' },
} as const satisfies Readonly<Record<string, LogEventDefinition>>;

export type LogEvent = keyof typeof logEvents;

/** Plain values only: an object could smuggle a secret into a line. */
export type LogFields = Readonly<
  Record<string, string | number | boolean | readonly string[] | undefined>
>;
