import type { ControlPlaneAnnotation } from '../../core/control-plane-annotation.ts';
import { hour, minute, second } from '../../core/instant.ts';
import type { TrustAuthority } from '../../core/trust.ts';
import { shortFingerprint } from '../../core/trust.ts';
import { readCertificateFile } from '../../pki/inventory/certificate-file.ts';
import type { AuthorityName } from '../../pki/layout.ts';
import { authorityFile } from '../../pki/layout.ts';
import type { Gate, GateReason } from '../cluster/gate.ts';
import { gateNames, gatesBefore } from '../cluster/gate.ts';
import type { ControlPlaneNode } from './control-plane-nodes.ts';
import type { HealthQuestion } from './health.ts';
import { healthProblems } from './health.ts';
import type { Step } from './task.ts';

export interface StepQuestion extends HealthQuestion {
  readonly step: Step;
  /** The new CA of this node; absent before the step `create`. */
  readonly next?: TrustAuthority;
  /** The control-plane Nodes without the Node of this machine. */
  readonly others: readonly ControlPlaneNode[];
  /** Every gate; none before the step `switch`. */
  readonly gates: readonly Gate[];
  /** Called with what the step waits for. */
  readonly onWait: (what: string) => void;
}

/** A component that another step has restarted is Ready after the first answer to its startup probe. */
const patience = minute;
const interval = 5 * second;

/**
 * Why the step must not begin on this node now; empty if it may. Waits a minute for components that
 * are not healthy.
 * @throws AgentError as KubeClient.request
 */
export async function obstaclesTo(question: StepQuestion): Promise<GateReason[]> {
  const { clock, signal, onWait } = question;
  const lasting = [
    ...closedGates(question),
    ...otherRollovers(question),
    ...reportedObstacles(question),
  ];
  const start = clock.elapsed();
  for (;;) {
    const passing = await healthProblems(question);
    const [first] = passing;
    const isOver = clock.elapsed() - start >= patience;
    if (first === undefined || lasting.length > 0 || isOver) return [...lasting, ...passing];
    onWait(first.message);
    await clock.sleep(interval, signal);
  }
}

/** The reasons of each gate that the step needs and that is not open. */
function closedGates({ step, gates }: StepQuestion): GateReason[] {
  const needed: readonly string[] = step === 'switch' || step === 'finish' ? gatesBefore[step] : [];
  return gates
    .filter(({ id }) => needed.includes(id))
    .flatMap(({ id, reasons }) =>
      reasons.map((reason) => ({
        ...reason,
        message: `${id} ${gateNames[id]}: ${reason.message}`,
      })),
    );
}

const otherAuthorities = ['etcd-ca', 'front-proxy-ca'] as const satisfies AuthorityName[];

/** A node reports every day. An older report may be from an earlier rollover. */
const longestReportAge = 25 * hour;

/** What the other nodes report about their files. */
function reportedObstacles({ others, clock, next }: StepQuestion): GateReason[] {
  const now = clock.now();
  const own = next && shortFingerprint(next.fingerprint);
  return others.flatMap(({ name, report }) => {
    if (report === undefined || now - report.reportedAt > longestReportAge) return [];
    return [
      ...otherCounts(report).flatMap(([file, count]) =>
        otherRollover(`${file} of the node ${name}`, count),
      ),
      ...(report.next === undefined || own === undefined || report.next === own
        ? []
        : [differentAuthority(name, report.next, own)]),
    ];
  });
}

function otherCounts(report: ControlPlaneAnnotation): [file: string, count: number][] {
  return [
    ['etcd/ca.crt', report.etcdAuthorities ?? 1],
    ['front-proxy-ca.crt', report.frontProxyAuthorities ?? 1],
  ];
}

function differentAuthority(name: string, reported: string, own: string): GateReason {
  return {
    state: 'waiting',
    message: `the node ${name} has the new CA ${reported}, and this node has ${own}`,
    remedy: `Copy ca-next.crt, ca-next.key and ca-bridge.crt from one of the nodes to the others. If ${name} has changed since its last report, run there: nodecertd trust sync`,
  };
}

/** Two rollovers at once would need twice the checks, and a failure would have two possible causes. */
export function otherRollovers({ directories }: Pick<StepQuestion, 'directories'>): GateReason[] {
  return otherAuthorities.flatMap((name) => {
    const path = authorityFile(name, directories);
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
