import type { Failure } from '../../core/errors.ts';
import type { Instant } from '../../core/instant.ts';
import { readRuns, sweep } from '../../store/run-folder.ts';
import { changeItem, UnrestoredError } from '../../store/run-item.ts';
import type { Run } from '../../store/run-manifest.ts';
import type { RunRecovery } from '../../store/run-recovery.ts';
import { finishRun } from '../../store/run-recovery.ts';
import { startRun } from '../../store/run-start.ts';
import type { ChainCertificate } from './certificate-chain.ts';
import type { Advice } from './renewal-advice.ts';
import { refusalOf } from './refusal.ts';
import { createRenewal } from './renew-item.ts';
import type { RenewalItem } from './renewal-item.ts';
import type { RestartedComponent } from './renewal-restarts.ts';
import type { ServedCheck, ServedResult } from './renewal-served.ts';

/** The folder of all runs, in the folder of the kubeconfigs. */
export const runsFolder = '.nodecertd';

/** The number of runs whose files are kept. */
const keptRuns = 3;

export interface RunEnvironment extends Omit<RunRecovery, 'laterChanges'> {
  readonly version: string;
}

export interface RenewedCertificate {
  readonly item: RenewalItem;
  readonly certificate: ChainCertificate;
  /** Absent if no endpoint serves it, or the check is turned off. */
  readonly served?: ServedResult;
  /** The component that was restarted, because it reads the certificate only when it starts. */
  readonly restarted?: RestartedComponent;
}

/** What is done around the replacement of the files of a certificate. A failure restores the files. */
export interface AroundRenewal {
  /** Called before each certificate. An error ends the run. */
  readonly before?: (item: RenewalItem) => void;
  readonly served: ServedCheck | undefined;
  /** Restarts what reads the certificate only when it starts. @throws AgentError COMPONENT_RESTART */
  readonly restart: (item: RenewalItem) => Promise<RestartedComponent | undefined>;
}

export interface RenewalResult {
  /** The certificates that were renewed, in order. */
  readonly renewed: readonly RenewedCertificate[];
  /** Absent if nothing was changed. */
  readonly folder?: string;
  readonly failed?: { readonly item: RenewalItem; readonly failure: Failure };
  /** Problems of the control plane after the renewal. Absent if it was not checked. */
  readonly controlPlane?: readonly Advice[];
}

/**
 * Renews one certificate after the other. The first failure ends the run: the files of that
 * certificate are restored, and the certificates before it stay renewed. If they cannot be restored,
 * the run stays interrupted.
 * @param plan the document of the plan, stored beside the copies
 * @throws AgentError STORE_* if not even the folder of the run can be created
 */
export async function runRenewal(
  items: readonly RenewalItem[],
  { plan, ...environment }: RunEnvironment & AroundRenewal & { readonly plan: unknown },
): Promise<RenewalResult> {
  const { directory } = environment;
  const { next: sequence } = await readRuns(directory);
  const now = (): Instant => environment.clock.now();
  const begun = { ...environment, sequence, now, kind: 'RenewalManifest', changes: [] } as const;
  let run = await startRun({ ...begun, plan });
  const renewed: RenewedCertificate[] = [];
  let failed: RenewalResult['failed'];
  for (const item of items) {
    try {
      environment.before?.(item);
      const step = await renewItem(run, item, environment);
      run = step.run;
      renewed.push(step.result);
    } catch (error) {
      failed = { item, failure: refusalOf(error) };
      if (error instanceof UnrestoredError) return { renewed, folder: run.folder, failed };
      break;
    }
  }
  if (renewed.length === 0) {
    await sweep(directory, [run.folder]);
    return { renewed, ...(failed && { failed }) };
  }
  await finishRun(run, environment, keptRuns);
  return { renewed, folder: run.folder, ...(failed && { failed }) };
}

/** @throws AgentError STORE_*, and the errors of the checks */
async function renewItem(
  run: Run,
  item: RenewalItem,
  environment: RunEnvironment & AroundRenewal,
): Promise<{ readonly run: Run; readonly result: RenewedCertificate }> {
  using files = await createRenewal(item);
  const prove = async (): Promise<RenewedCertificate> => {
    const served = await environment.served?.check(item);
    const restarted = await environment.restart(item);
    const { certificate } = files;
    return { item, certificate, ...(served && { served }), ...(restarted && { restarted }) };
  };
  const { name } = item.entry;
  const { changes } = files;
  const restoreCommand = 'nodecertd certs rollback --yes';
  return await changeItem(run, { name, changes, prove, restoreCommand }, environment);
}
