import { AgentError } from '../../core/errors.ts';
import type { Restarts } from '../../pki/renewal/renewal-restarts.ts';
import type { ComponentRestart, RestartEnvironment } from '../../pki/renewal/restart.ts';
import type { RestorableFile } from '../../store/restore-files.ts';
import { runSystemctl } from '../../sys/systemctl.ts';

/**
 * Makes systemd restart the units of these components with their current files and drop-ins. Like a
 * change of a manifest, this waits for no component, and cannot be canceled: otherwise, Ctrl-C would
 * leave a component with flags for files that were restored.
 * @throws AgentError COMPONENT_RESTART if systemd refuses
 */
export async function restartUnits(
  restarts: readonly ComponentRestart[],
  { systemctl }: Pick<RestartEnvironment, 'systemctl'>,
): Promise<void> {
  const units = restarts.flatMap(({ by }) => (by.kind === 'unit' ? [by.unit] : []));
  if (units.length === 0) return;
  await must(['daemon-reload'], systemctl);
  // systemd refuses to start a unit that has failed too often, until its counter is reset. This fails
  // for a unit that is not loaded, which has no counter.
  await runSystemctl(['reset-failed', ...units], { systemctl });
  await must(['restart', '--no-block', ...units], systemctl);
}

/** @throws AgentError COMPONENT_RESTART */
async function must(args: readonly string[], systemctl: string | undefined): Promise<void> {
  const result = await runSystemctl(args, { systemctl });
  if (result.kind === 'done') return;
  const command = `systemctl ${args.join(' ')}`;
  throw new AgentError('COMPONENT_RESTART', `${command} failed: ${result.reason}`, {
    remedy: 'Find the reason, and then run this command again: journalctl _PID=1 --lines 20',
  });
}

/**
 * The units whose files a run has restored. A task that restarts a component has its name. The task of etcd
 * changes the CA that kube-apiserver reads too, also only when it starts.
 */
export function unitsOf(
  files: readonly Pick<RestorableFile, 'item'>[],
  restarts: Restarts,
): ComponentRestart[] {
  const items = new Set(files.map(({ item }) => item));
  if (items.has('etcd')) items.add('kube-apiserver');
  return [...restarts.values()].filter(
    ({ component, by }) => by.kind === 'unit' && items.has(component),
  );
}
