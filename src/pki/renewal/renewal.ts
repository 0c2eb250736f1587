import { join } from 'node:path';
import { AgentError } from '../../core/errors.ts';
import { attributeCopier } from '../../store/file-attributes.ts';
import type { RunRecovery } from '../../store/run-recovery.ts';
import { completeRuns, interruptedRun, rollBack, runsSince } from '../../store/run-recovery.ts';
import type { DirectoryLock } from '../../store/directory-lock.ts';
import { lockDirectory } from '../../store/directory-lock.ts';
import type { RestorableFile } from '../../store/restore-files.ts';
import { inspectFiles, wipe } from '../../store/restore-files.ts';
import type { Runs } from '../../store/run-folder.ts';
import { makePrivateDirectory, readRuns, restorations, sweep } from '../../store/run-folder.ts';
import type { Run } from '../../store/run-manifest.ts';
import type { Clock } from '../../sys/clock.ts';
import type { Tree } from '../../sys/tree.ts';
import type { KubernetesDirectories } from '../layout.ts';
import { planImport } from './import-plan.ts';
import { removePendingKey } from './pending-keys.ts';
import type { RenewalItem } from './renewal-item.ts';
import { textOf } from './existing-certificate.ts';
import type { ChainCertificate } from './certificate-chain.ts';
import { readCertificates } from './certificate-chain.ts';
import type { FileContent } from '../../store/file-content.ts';
import type { Instant } from '../../core/instant.ts';
import { kubeconfigCertificate } from '../../kube/embedded-certificate.ts';
import { KubeconfigDocument } from '../../kube/kubeconfig-document.ts';
import type { PlannedCertificate, PlanRequest } from './renewal-plan.ts';
import { planRenewal } from './renewal-plan.ts';
import { refuseSharedFiles } from './shared-files.ts';
import { startServedCheck } from './renewal-served.ts';
import type { ServedEndpoint } from '../inventory/served.ts';
import type { AroundRenewal, RenewalResult, RunEnvironment } from './renewal-run.ts';
import type { RestartedComponent, Restarts } from './renewal-restarts.ts';
import { restartOfItem, Restarter } from './renewal-restarts.ts';
import { withControlPlaneCheck } from './control-plane-check.ts';
import { runRenewal, runsFolder } from './renewal-run.ts';
import { requireNoInterruptedStep } from './rollover-runs.ts';

export interface RenewalRequest {
  readonly tree: Tree;
  readonly directories: KubernetesDirectories;
  readonly clock: Clock;
  readonly version: string;
  readonly signal: AbortSignal;
}

export interface RenewalOptions extends Omit<PlanRequest, 'tree' | 'directories' | 'now'> {
  /**
   * A folder with certificates of an external CA, which replace the selected ones. Absent to renew
   * with the CAs of this machine.
   */
  readonly importFrom?: string;
}

export interface RenewalPreview {
  readonly certificates: readonly PlannedCertificate[];
  /** An earlier run that the next one completes or undoes first. */
  readonly interrupted?: Run;
}

/** Plans a renewal. Writes nothing, and takes no lock. */
export async function previewRenewal(
  request: RenewalRequest,
  options: RenewalOptions,
): Promise<RenewalPreview> {
  const { tree, directories, clock } = request;
  const directory = directoryOf(request);
  const interrupted = interruptedRun(await readRuns(directory));
  const environment = { tree, directories, now: clock.now() };
  const { importFrom: folder } = options;
  const planned = await (folder === undefined
    ? planRenewal({ ...options, ...environment })
    : planImport({ ...options, ...environment, directory, folder }));
  const certificates = refuseSharedFiles(planned);
  return { certificates, ...(interrupted && { interrupted }) };
}

/**
 * Completes an interrupted run, plans again, and renews.
 * @param describe makes the document of the plan, which is stored beside the copies
 * @throws AgentError STORE_LOCKED during another run or after an interrupted step of a CA rollover,
 * FILE_CHANGED, STORE_*
 */
export async function renew(
  request: RenewalRequest,
  options: RenewalOptions & {
    readonly describe: (preview: RenewalPreview) => unknown;
    /**
     * The endpoints that have to serve the new certificates; none without a check. If kube-apiserver
     * is one of them, the control plane is checked at the end.
     */
    readonly endpoints: readonly ServedEndpoint[];
    /** What the renewal may restart; nothing by default. */
    readonly restarts?: Restarts;
    /**
     * Called before each certificate and each restart, for a lock that can be lost. An error stops
     * the run, and the certificates before it stay renewed.
     */
    readonly requireLock?: () => void;
    readonly onItem?: (item: RenewalItem) => void;
  },
): Promise<{ readonly preview: RenewalPreview; readonly result: RenewalResult }> {
  const environment = environmentOf(request);
  await using _ = await lock(environment.directory);
  await requireNoInterruptedStep(request.directories);
  const { endpoints, restarts = new Map() } = options;
  const restarter = new Restarter(restarts, { ...request, ...environment });
  // An interrupted run may have replaced a kubeconfig without the restart.
  for (const name of await completeRuns(environment)) await restarter.restartUserOf(name);
  const preview = await previewRenewal(request, options);
  const items = itemsOf(preview);
  const result = items.length === 0 ? { renewed: [] } : await run();
  for (const name of importedNames(preview, result)) {
    await removePendingKey(environment.directory, name);
  }
  return { preview, result };

  async function run(): Promise<RenewalResult> {
    await restarter.requirePossible(items);
    const dialed = { endpoints, ...request };
    const served = endpoints.length === 0 ? undefined : await startServedCheck(dialed);
    const around: AroundRenewal = {
      served,
      restart: (item) => {
        if (restartOfItem(item, restarts) !== undefined) options.requireLock?.();
        return restarter.restartUser(item);
      },
      before: (item) => {
        options.requireLock?.();
        options.onItem?.(item);
      },
    };
    const plan = options.describe(preview);
    const result = await runRenewal(items, { ...environment, ...around, plan });
    return withControlPlaneCheck(result, { ...request, endpoints, restarts });
  }
}

/** The certificates whose pending key is now in use. */
function importedNames({ certificates }: RenewalPreview, { renewed }: RenewalResult): string[] {
  return [
    ...certificates.flatMap((one) =>
      one.kind === 'imported' && one.hasPendingKey ? [one.entry.name] : [],
    ),
    ...renewed.flatMap(({ item }) => (item.issued === undefined ? [] : [item.entry.name])),
  ];
}

export function itemsOf({ certificates }: RenewalPreview): RenewalItem[] {
  return certificates.flatMap((planned) => (planned.kind === 'renew' ? [planned.item] : []));
}

async function withoutContent(file: RestorableFile): Promise<RolledBackFile> {
  const { path, kind } = file;
  const notAfter = await restoredEnd(file);
  return { path, kind, ...(notAfter !== undefined && { notAfter }) };
}

/** The end of the certificate that a rollback restores; undefined for a file without one. */
async function restoredEnd({ path, target }: RestorableFile): Promise<Instant | undefined> {
  if (target === undefined) return undefined;
  try {
    const { bytes } = target;
    const [first] = await (path.endsWith('.conf')
      ? embeddedCertificates(path, target)
      : readCertificates(bytes));
    return first?.facts.notAfter;
  } catch {
    return undefined;
  }
}

async function embeddedCertificates(
  path: string,
  content: FileContent,
): Promise<ChainCertificate[]> {
  const document = new KubeconfigDocument(path, textOf(path, content));
  const { source } = kubeconfigCertificate(document);
  if (source.kind === 'files') return [];
  source.key.wipe();
  return readCertificates(source.certificate);
}

/** A file that a rollback restores, without its content, which may be a key. */
export interface RolledBackFile extends Pick<RestorableFile, 'path' | 'kind'> {
  /** The end of the restored certificate; absent for a file without one. */
  readonly notAfter?: Instant;
}

export interface RollbackPreview {
  /** All earlier renewals, the latest first. */
  readonly runs: readonly Run[];
  readonly interrupted?: Run;
  /** The renewal to undo, together with all later ones. Absent if there is no renewal. */
  readonly target?: Run;
  readonly files: readonly RolledBackFile[];
  /** The names of the certificates that are restored, in the order of their renewal. */
  readonly certificates: readonly string[];
}

/**
 * Plans a rollback. Writes nothing, and takes no lock.
 * @param time the name of a run folder; the latest run if absent
 * @throws AgentError USAGE if there is no such run
 */
export async function previewRollback(
  request: RenewalRequest,
  time: string | undefined,
): Promise<RollbackPreview> {
  const runs = await readRuns(directoryOf(request));
  const target = findRun(runs, time);
  const interrupted = interruptedRun(runs);
  const undone = target === undefined ? [] : runsSince(runs, target);
  const files = await inspectFiles(request.tree, restorations(undone));
  const shown = await Promise.all(files.map(withoutContent));
  wipe(files);
  return {
    runs: runs.active.toReversed(),
    files: shown,
    certificates: [...new Set(undone.flatMap(certificatesOf))],
    ...(interrupted && { interrupted }),
    ...(target && { target }),
  };
}

/**
 * Restores the files as they were before a renewal. An interrupted renewal needs no completion
 * first, because all its copies exist.
 * @throws AgentError USAGE if there is no such run; STORE_LOCKED; FILE_CHANGED unless forced
 */
export async function rollBackTo(
  request: RenewalRequest,
  {
    time,
    force,
    restarts = new Map(),
  }: {
    readonly time: string | undefined;
    readonly force: boolean;
    /** What the rollback may restart; nothing by default. */
    readonly restarts?: Restarts;
  },
): Promise<RollbackPreview & { readonly restarted: readonly RestartedComponent[] }> {
  const environment = environmentOf(request);
  await using _ = await lock(environment.directory);
  await requireNoInterruptedStep(request.directories);
  const preview = await previewRollback(request, time);
  const restarter = new Restarter(restarts, { ...request, ...environment });
  await restarter.requirePossibleFor(preview.certificates);
  const runs = await readRuns(environment.directory);
  const { target } = preview;
  if (target !== undefined) await rollBack({ runs, target, force }, environment);
  await sweep(environment.directory, runs.obsolete);
  const restarted: RestartedComponent[] = [];
  for (const name of preview.certificates) {
    const done = await restarter.restartUserOf(name);
    if (done !== undefined) restarted.push(done);
  }
  return { ...preview, restarted };
}

/** The names of the certificates that a run renewed. */
export function certificatesOf({ manifest }: Run): string[] {
  return [...new Set(manifest.changes.flatMap(({ item }) => item ?? []))];
}

function findRun({ active }: Runs, time: string | undefined): Run | undefined {
  // A rollback that was interrupted has to be finished first.
  const reverting = active.find(({ manifest }) => manifest.state === 'reverting');
  if (reverting !== undefined) return reverting;
  if (time === undefined) return active.at(-1);
  const found = active.filter(({ folder }) => nameOf(folder).startsWith(time));
  const [run] = found;
  if (run !== undefined && found.length === 1) return run;
  const names = active.map(({ folder }) => nameOf(folder)).join(', ');
  throw new AgentError(
    'USAGE',
    `${found.length === 0 ? 'no renewal is' : 'several renewals are'} named ${JSON.stringify(time)}`,
    {
      remedy:
        names === ''
          ? 'List the renewals: nodecertd certs rollback --dry-run'
          : `Pass one of these: ${names}`,
    },
  );
}

/** The time and number of a run: `20261128T230105Z-4`. */
export function nameOf(folder: string): string {
  return folder.slice(folder.lastIndexOf('/') + 1);
}

/** The folder of all runs. Its lock is that of every command that changes the files of kubeadm. */
export function directoryOf({ directories }: Pick<RenewalRequest, 'directories'>): string {
  return join(directories.kubernetes, runsFolder);
}

function environmentOf(request: RenewalRequest): RunEnvironment & RunRecovery {
  const { tree, clock, version } = request;
  const copyAttributes = attributeCopier(clock);
  return { tree, directory: directoryOf(request), clock, version, copyAttributes, laterChanges };
}

const laterChanges = {
  change: 'the renewal',
  remedy:
    'Discard the changes and restore the previous files: nodecertd certs rollback --force --yes',
};

/** @throws AgentError STORE_LOCKED, STORE_* */
export async function lock(directory: string): Promise<DirectoryLock> {
  await makePrivateDirectory(directory);
  const held = await lockDirectory(directory, inUse);
  if (held.locked) return held;
  await held[Symbol.asyncDispose]();
  throw new AgentError('STORE_LOCKED', `cannot lock ${directory}: ${held.reason ?? ''}`, {
    remedy: 'Install util-linux, which contains flock',
  });
}

function inUse(directory: string, pid: string | undefined): AgentError {
  const holder = pid === undefined ? '' : ` (pid ${pid})`;
  return new AgentError(
    'STORE_LOCKED',
    `another nodecertd command${holder} is changing files, and holds the lock in ${directory}`,
    { remedy: 'Wait until the other command has finished, and run this command again' },
  );
}
