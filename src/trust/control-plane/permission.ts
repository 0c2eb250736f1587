import { hour, minute, second } from '../../core/instant.ts';
import type { TrustAuthority } from '../../core/trust.ts';
import { shortFingerprint } from '../../core/trust.ts';
import { readCertificateFile } from '../../pki/inventory/certificate-file.ts';
import type { Gate, GateReason, StepGateId } from '../cluster/gate.ts';
import { etcdGateNames, gatesBefore, stepGateNames } from '../cluster/gate.ts';
import type { ControlPlaneNode } from './control-plane-nodes.ts';
import type { HealthQuestion } from './health.ts';
import { healthProblems } from './health.ts';
import { reportedCount, reportedNext } from './new-authority-report.ts';
import { nextPathsInWords } from './next-authority.ts';
import type { CaPlaces } from './node-files.ts';
import { caPath } from './node-files.ts';
import type { CaName, Step } from './task.ts';
import { caNames } from './task.ts';

export interface StepQuestion extends HealthQuestion {
  readonly step: Step;
  /** The new CA of this node; absent before the step `create`. */
  readonly next?: TrustAuthority;
  /** The control-plane Nodes without the Node of this machine. */
  readonly others: readonly ControlPlaneNode[];
  /** Every gate; none before the step `switch`. */
  readonly gates: readonly Gate<StepGateId>[];
  /** Called with what the step waits for. */
  readonly onWait: (what: string) => void;
}

/**
 * A component that another step has restarted is Ready after the first answer to its startup probe.
 * kube-controller-manager and kube-scheduler exit while etcd or their API server restarts, and the
 * kubelet then delays their next start by up to five minutes.
 */
const patience: Readonly<Record<CaName, number>> = {
  kubernetes: minute,
  etcd: 6 * minute,
  'front-proxy': minute,
};
const interval = 5 * second;

/**
 * Why the step must not begin on this node now; empty if it may. Waits for components that are not
 * healthy.
 * @throws AgentError as KubeClient.request
 */
export async function obstaclesTo(question: StepQuestion): Promise<GateReason[]> {
  const { clock, signal, onWait } = question;
  const lasting = [
    ...closedGates(question),
    // The return to the old CA ends a rollover that should not have begun.
    ...(question.step === 'abort'
      ? []
      : [...otherRollovers(question), ...reportedObstacles(question)]),
  ];
  const start = clock.elapsed();
  for (;;) {
    const passing = await healthProblems(question);
    const [first] = passing;
    const isOver = clock.elapsed() - start >= patience[question.ca];
    if (first === undefined || lasting.length > 0 || isOver) return [...lasting, ...passing];
    onWait(first.message);
    await clock.sleep(interval, signal);
  }
}

/** The reasons of each gate that the step needs and that is not open. */
function closedGates({ step, gates }: StepQuestion): GateReason[] {
  const needed: readonly string[] = [
    ...(step === 'create' || step === 'trust' ? [] : gatesBefore[step]),
    ...Object.keys(etcdGateNames),
  ];
  return gates
    .filter(({ id }) => needed.includes(id))
    .flatMap(({ id, reasons }) =>
      reasons.map((reason) => ({
        ...reason,
        message: `${id} ${stepGateNames[id]}: ${reason.message}`,
      })),
    );
}

/** A node reports every day. An older report may be from an earlier rollover. */
const longestReportAge = 25 * hour;

/** What the other nodes report about their files. */
export function reportedObstacles(
  question: Pick<StepQuestion, 'ca' | 'others' | 'clock' | 'next' | 'directories' | 'exceptNodes'>,
): GateReason[] {
  const { ca, others, clock, next, exceptNodes } = question;
  const now = clock.now();
  const own = next && shortFingerprint(next.fingerprint);
  return others.flatMap(({ name, report }) => {
    if (exceptNodes?.has(name) === true) return [];
    if (report === undefined || now - report.reportedAt > longestReportAge) return [];
    const reported = reportedNext(report, ca);
    return [
      ...otherCas(ca).flatMap((other) =>
        otherRollover(`${fileNames[other]} of the node ${name}`, reportedCount(report, other)),
      ),
      ...(reported === undefined || own === undefined || reported === own
        ? []
        : [differentAuthority(question, { name, reported, own })]),
    ];
  });
}

function otherCas(ca: CaName): CaName[] {
  return caNames.filter((other) => other !== ca);
}

const fileNames: Readonly<Record<CaName, string>> = {
  kubernetes: 'ca.crt',
  etcd: 'etcd/ca.crt',
  'front-proxy': 'front-proxy-ca.crt',
};

function differentAuthority(
  places: CaPlaces,
  { name, reported, own }: Readonly<Record<'name' | 'reported' | 'own', string>>,
): GateReason {
  return {
    state: 'waiting',
    message: `the node ${name} has the new CA ${reported}, and this node has ${own}`,
    remedy: `Copy ${nextPathsInWords(places)} from one of the nodes to the others. If ${name} has changed since its last report, run there: nodecertd trust sync`,
  };
}

/** Two rollovers at once would need twice the checks, and a failure would have two possible causes. */
export function otherRollovers({ ca, directories }: CaPlaces): GateReason[] {
  return otherCas(ca).flatMap((other) => {
    const path = caPath({ ca: other, directories }, 'trusted');
    const reading = readCertificateFile(path);
    return otherRollover(path, reading.kind === 'read' ? reading.certificates.length : 0);
  });
}

function otherRollover(file: string, count: number): GateReason[] {
  if (count < 2) return [];
  return waiting(
    `${file} has ${count} CAs, so another CA rollover is in progress`,
    'Complete the rollover of that CA first',
  );
}

function waiting(message: string, remedy?: string): [GateReason] {
  return [{ state: 'waiting', message, ...(remedy !== undefined && { remedy }) }];
}
