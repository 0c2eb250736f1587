import type { Finding } from '../core/enroller-protocol.ts';
import type { LogEvent } from '../core/log-events.ts';

const events: Readonly<Record<Finding['kind'], LogEvent>> = {
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
  'cleanup-failed': 'cleanup_failed',
};

/** The log line for something the store did. */
export function findingEvent(kind: Finding['kind']): LogEvent {
  return events[kind];
}
