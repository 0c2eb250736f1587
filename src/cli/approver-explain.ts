import type { Command } from 'commander';
import { isIP } from 'node:net';
import type { ClusterObjects, FoundObject, ObjectParser } from '../approver/cluster-objects.ts';
import { addCsr, clusterObjects, viewOf } from '../approver/cluster-objects.ts';
import type { Outcome } from '../approver/decision.ts';
import { explain, signerDelay } from '../approver/explanation.ts';
import { machineIndexOf, unreadMachines } from '../approver/machine-index.ts';
import { readCluster, readMachines } from '../approver/read-cluster.ts';
import type { ServingCsr } from '../approver/serving-csr.ts';
import type { MachineLookup } from '../approver/sources/machine-source.ts';
import { nodeOf } from '../approver/watched-csr.ts';
import type { ApproverPolicy } from '../core/approver-policy.ts';
import { kubeletServingSigner } from '../core/certificate-spec.ts';
import { AgentError, toFailure } from '../core/errors.ts';
import { hostOf } from '../core/host-port.ts';
import type { Instant } from '../core/instant.ts';
import { version } from '../core/version.ts';
import { loadKubeconfig } from '../kube/kubeconfig.ts';
import { KubeClient, parseResponse } from '../kube/rest-client.ts';
import { serviceAccountAccess } from '../kube/service-account.ts';
import type { ExplainedCsr } from './approver-explain-report.ts';
import { explanationDocument, explanationTable } from './approver-explain-report.ts';
import { defaultKubeconfig, policyOf, policyOption, sourcesOf } from './approver-options.ts';
import type { CliContext } from './context.ts';
import { Progress } from './doctor-progress.ts';
import type { ExitCode, ExitCodeMeanings } from './exit-code.ts';
import { parseFoundObject, readObjectFiles } from './object-files.ts';
import type { OutputFormat } from './print.ts';
import { outputOption, print } from './print.ts';

interface ExplainOptions {
  readonly policy?: string;
  readonly file?: string;
  readonly node?: string;
  readonly kubeconfig?: string;
  readonly output: OutputFormat;
}

export const exitCodes: ExitCodeMeanings = {
  0: 'the CSR would be approved',
  1: 'an error; the message says which',
  2: 'wrong usage',
  3: 'the CSR would be held',
  4: 'the CSR would be denied',
  5: 'the CSR would be ignored',
};

export const outcomeExitCodes = {
  approve: 0,
  hold: 3,
  deny: 4,
  ignore: 5,
} as const satisfies Readonly<Record<Outcome, ExitCode>>;

/** `nodecertd approver explain`: the decision about one CSR, with every check. Changes nothing. */
export function configure(
  command: Command,
  context: CliContext,
  exit: (code: number) => void,
): void {
  command
    .argument('[csr]', 'name of the CSR; can be left out if --file has only one')
    .addOption(policyOption())
    .option('--file <file>', 'read the CSR from a file instead of the cluster')
    .option('--node <file>', 'with --file: a file with the Node, and any other objects to consider')
    .option(
      '--kubeconfig <file>',
      'kubeconfig of the cluster (default: KUBECONFIG, ~/.kube/config, /etc/kubernetes/admin.conf, or the service account of the pod)',
    )
    .addOption(outputOption())
    .action(async (name: string | undefined, options: ExplainOptions) => {
      const policy = await policyOf(options.policy);
      const snapshot =
        options.file === undefined
          ? await fromCluster(options, policy, context)
          : await fromFiles({ ...options, file: options.file }, context);
      const explained = await explainCsr(snapshot, { name, policy });
      const text = await print(options.output, explanationDocument(explained), () =>
        explanationTable(explained),
      );
      context.stdout.write(text);
      exit(outcomeExitCodes[explained.explanation.decision.outcome]);
    });
}

/** The objects of a cluster or of files. */
interface Snapshot {
  readonly objects: ClusterObjects;
  readonly machines: MachineLookup;
  readonly now: Instant;
  readonly controlPlaneEndpoint: string | undefined;
  /** Of the objects, for errors. */
  readonly origin: string;
  /** Which CSRs were read: `CSR`, or only those of one signer. */
  readonly kind: string;
  /** How to find a CSR, or to save one. */
  readonly remedy: string;
}

async function explainCsr(
  snapshot: Snapshot,
  { name, policy }: { readonly name: string | undefined; readonly policy: ApproverPolicy },
): Promise<ExplainedCsr> {
  const { objects, machines, now, controlPlaneEndpoint } = snapshot;
  const csr = chosenCsr(snapshot, name);
  const nodeName = nodeOf(csr);
  const node = objects.nodes.find((candidate) => candidate.name === nodeName);
  const view = viewOf(objects, controlPlaneEndpoint);
  for (const each of objects.csrs) addCsr(view, each);
  const facts = view.facts(await sourcesOf(policy, machines), { node });
  const signer = signerDelay(csr, objects.csrs);
  return { csr, policy, signer, explanation: explain({ csr, facts, policy, now }) };
}

function chosenCsr(
  { objects: { csrs }, origin, kind, remedy }: Snapshot,
  name: string | undefined,
): ServingCsr {
  const [only, another] = csrs;
  if (name === undefined && only !== undefined && another === undefined) return only;
  const found = csrs.find((csr) => csr.name === name);
  if (found !== undefined) return found;
  if (name === undefined && only !== undefined) {
    const message = `${origin} has ${csrs.length} CSRs, and none is named`;
    throw new AgentError('USAGE', message, { remedy: 'Name the CSR to explain' });
  }
  const missing = [kind, name === undefined ? [] : `named ${name}`].flat().join(' ');
  throw new AgentError('USAGE', `${origin} has no ${missing}`, { remedy });
}

async function fromFiles(
  { file, node }: ExplainOptions & { readonly file: string },
  { clock }: CliContext,
): Promise<Snapshot> {
  const found = await readObjectFiles(node === undefined ? [file] : [file, node]);
  const objects = clusterObjects(found, parseFoundObject);
  return {
    objects,
    machines: machineIndexOf(objects.machines),
    now: clock.now(),
    controlPlaneEndpoint: undefined,
    origin: file,
    kind: 'CSR',
    remedy: `Save the CSR in the file: kubectl get csr NAME -o yaml > ${file}`,
  };
}

async function fromCluster(
  options: ExplainOptions,
  policy: ApproverPolicy,
  { clock, stderr }: CliContext,
): Promise<Snapshot> {
  using progress = new Progress(stderr, clock).start();
  progress.note('the API server', 'started');
  const path = options.kubeconfig ?? defaultKubeconfig(process.env);
  let now = clock.now();
  const cluster = await readWith(path, {
    clock,
    read: readCluster,
    onDate: (serverTime) => {
      now = serverTime;
    },
  });
  const { machine } = policy.sources;
  const machines =
    machine === undefined
      ? machineIndexOf([])
      : await machinesOf(machine.kubeconfig ?? path, clock);
  const objects = clusterObjects(cluster.found, parseFound);
  const host = hostOf(new URL(cluster.server));
  const isAddress = isIP(host) !== 0;
  return {
    objects,
    machines,
    now,
    controlPlaneEndpoint: isAddress ? undefined : host,
    origin: cluster.server,
    kind: `CSR of the signer ${kubeletServingSigner}`,
    remedy: 'List the CSRs: kubectl get csr',
  };
}

/** If the Machines cannot be read, the CSR is held as by the controller. */
async function machinesOf(
  kubeconfig: string | undefined,
  clock: CliContext['clock'],
): Promise<MachineLookup> {
  try {
    const { found } = await readWith(kubeconfig, { clock, read: readMachines });
    return machineIndexOf(clusterObjects(found, parseFound).machines);
  } catch (error) {
    return unreadMachines(toFailure(error));
  }
}

const parseFound: ObjectParser = (schema, { value, place }) => parseResponse(schema, value, place);

interface ReadOptions {
  readonly clock: CliContext['clock'];
  readonly read: (client: KubeClient, signal: AbortSignal) => Promise<FoundObject[]>;
  readonly onDate?: (serverTime: Instant) => void;
}

async function readWith(
  kubeconfig: string | undefined,
  { clock, read, onDate }: ReadOptions,
): Promise<{ readonly found: readonly FoundObject[]; readonly server: string }> {
  using access =
    kubeconfig === undefined ? await serviceAccountAccess() : await loadKubeconfig(kubeconfig);
  await using client = await KubeClient.open({ access, version, clock, ...(onDate && { onDate }) });
  // Ctrl-C simply ends the process, because the command changes nothing.
  const found = await read(client, new AbortController().signal);
  return { found, server: access.cluster.server };
}
