import { formatInstant } from '../../../core/instant.ts';
import type { TrustAuthority } from '../../../core/trust.ts';
import { authorityName, shortFingerprint } from '../../../core/trust.ts';
import { readAuthority } from '../../../kube/authorities.ts';
import { haveSameKey } from '../../../pki/renewal/certificate-chain.ts';
import { readAuthorityFile } from '../../../pki/renewal/renewal-plan.ts';
import { exists } from '../../../sys/exists.ts';
import type { GateReason } from '../../cluster/gate.ts';
import { copyCommands } from '../../cluster/plan-commands.ts';
import { readClusterState } from '../../cluster/read/cluster.ts';
import type { ClusterState } from '../../cluster/state.ts';
import type { ControlPlaneNodes } from '../control-plane-nodes.ts';
import { looseKeys } from '../ca-files.ts';
import { applyCommand } from '../apply-command.ts';
import { readNodesWithOwn } from '../control-plane-nodes.ts';
import type { AuthorityPair } from '../new-authority.ts';
import type { KnownAuthorities } from '../new-authority-report.ts';
import {
  bundlesOn,
  inUse,
  otherNewAuthorities,
  otherPublished,
  reportedNext,
  reportTask,
  unrelatedAuthorities,
  usersOf,
} from '../new-authority-report.ts';
import { nextPaths, readPair } from '../next-authority.ts';
import { authorityNameOf, caPath } from '../node-files.ts';
import { otherRollovers } from '../permission.ts';
import type { StepPlan, StepRequest } from '../step-plan.ts';
import type { NewAuthorityOptions } from './chosen-authority.ts';
import type { CreatePlan } from './create.ts';
import { planCreate } from './create.ts';

/**
 * Plans the step `create`: a new CA on this node, and the commands that copy it to the other
 * control-plane nodes.
 * @throws AgentError as planCreate and KubeClient.request
 */
export async function planCreateStep(
  request: StepRequest,
  options: NewAuthorityOptions,
): Promise<StepPlan> {
  const { clock, hostName: nodeName } = request;
  const plan = await planCreate({ ...request, now: clock.now() }, options);
  const common = { step: 'create', nodeName, restarts: [], gates: [] } as const;
  if (plan.task === undefined) {
    const notes = ['The new CA signs on this node already.'];
    return { ...common, tasks: [], refusals: [], notes, commands: [] };
  }
  const { state, nodes } = await readCluster(request);
  const next = plan.next && readAuthority(plan.next.der);
  const known = { signing: readAuthority(plan.signing.der), ...(next && { next }) };
  const isChanged = plan.task.files.length > 0;
  return {
    ...common,
    tasks: [plan.task, ...(await reportTask(nodes.own, { request, isChanged }))],
    refusals: [
      ...(await looseKeys(request)),
      ...otherRollovers(request),
      ...(await unfinished(request)),
      ...(request.ca === 'kubernetes' ? otherPublished(state, known) : []),
      ...otherNewAuthorities(nodes.others, { request, next }),
    ],
    notes: [
      ...notesOn(plan, known),
      ...(request.ca === 'kubernetes' ? unrelatedNotes(state, known) : []),
    ],
    ...(next === undefined && { notesAfter: () => notesOnCreated(request) }),
    commands: await copies(plan, { request, nodes, next }),
  };
}

/** After `finish --keep-absent-nodes`, kube-apiserver still needs the old CA of that rollover. */
async function unfinished(request: StepRequest): Promise<GateReason[]> {
  const path = caPath(request, 'clients');
  if (request.ca !== 'kubernetes' || !(await exists(path))) return [];
  return [
    {
      state: 'waiting',
      message: `the step finish of an earlier rollover still keeps absent nodes: ${path} exists`,
      remedy: `End it on each control-plane node: ${applyCommand('finish', request.ca)} --old-key destroy`,
    },
  ];
}

async function readCluster(request: StepRequest): Promise<{
  readonly state: ClusterState;
  readonly nodes: ControlPlaneNodes;
}> {
  const { client, clock, signal } = request;
  const state = await readClusterState(
    { client, signal },
    { readAt: clock.now(), withPods: false },
  );
  return { state, nodes: await readNodesWithOwn(request) };
}

function notesOn({ withoutBridge }: CreatePlan, { signing, next }: KnownAuthorities): string[] {
  const isOlder = next !== undefined && next.notBefore <= signing.notBefore;
  const notes = [
    next && introduction(next),
    withoutBridge &&
      `There is no bridge, because ${withoutBridge}. After the step switch, clients that trust only the old CA cannot connect.`,
    isOlder &&
      `The new CA is older than the old CA, so ca-rollover status, wait and verify need: --old ${shortFingerprint(signing.fingerprint)} --new ${shortFingerprint(next.fingerprint)}`,
  ];
  return notes.filter((note) => typeof note === 'string');
}

function unrelatedNotes(state: ClusterState, known: KnownAuthorities): string[] {
  const { signing, next } = known;
  const names = `--old ${shortFingerprint(signing.fingerprint)} --new ${next === undefined ? 'FINGERPRINT' : shortFingerprint(next.fingerprint)}`;
  return unrelatedAuthorities(state, known).map(
    (one) =>
      `cluster-info also has the CA ${authorityName(one)}, which is part of no rollover and stays there. So ca-rollover status, wait and verify need: ${names}`,
  );
}

function introduction(next: TrustAuthority): string {
  return `The new CA is ${authorityName(next)}. It expires at ${formatInstant(next.notAfter)}. Its hash for trust.caCertHashes is ${next.pin}.`;
}

async function notesOnCreated(request: StepRequest): Promise<string[]> {
  const pair = await readPair(await nextPaths(request), runAgain);
  return pair === undefined ? [] : [introduction(readAuthority(pair.certificate.der))];
}

const runAgain = 'Run this command again';

/** To the control-plane nodes that have not reported this CA. */
async function copies(
  { withoutBridge }: CreatePlan,
  {
    request,
    nodes,
    next,
  }: {
    readonly request: StepRequest;
    readonly nodes: ControlPlaneNodes;
    readonly next: TrustAuthority | undefined;
  },
): Promise<string[]> {
  const own = next && shortFingerprint(next.fingerprint);
  const missing = nodes.others.filter(
    ({ report }) => own === undefined || reportedNext(report, request.ca) !== own,
  );
  const { certificate, key } = await nextPaths(request);
  const hasBridge = request.ca === 'kubernetes' && withoutBridge === undefined;
  const files = [
    certificate,
    ...(key === undefined ? [] : [key]),
    ...(hasBridge ? [caPath(request, 'bridge')] : []),
  ];
  return copyCommands(
    files,
    missing.map(({ name }) => name),
  );
}

/**
 * Plans the undo of the step `create`.
 * @throws AgentError as readPair and KubeClient.request
 */
export async function planCreateUndo(request: StepRequest): Promise<StepPlan> {
  const { ca, hostName: nodeName } = request;
  const { state, nodes } = await readCluster(request);
  const paths = await nextPaths(request);
  const remedy = `Delete both files: rm -f ${paths.certificate} ${paths.key}`;
  const pair = await readPair(paths, remedy);
  const refusals =
    pair === undefined
      ? []
      : [
          ...(await useOnThisNode(pair, request)),
          ...(ca === 'kubernetes' ? usersOf(readAuthority(pair.certificate.der), state) : []),
          ...bundlesOn(nodes.others, ca),
        ];
  const tasks = await reportTask(nodes.own, { request, isChanged: pair !== undefined });
  return {
    step: 'create',
    nodeName,
    tasks,
    restarts: [],
    gates: [],
    refusals,
    notes: [],
    commands: [],
  };
}

/** The step `trust` has begun on this node. */
async function useOnThisNode(
  { certificate }: Pick<AuthorityPair, 'certificate'>,
  request: StepRequest,
): Promise<GateReason[]> {
  const { ca, directories } = request;
  const { path, certificates } = await readAuthorityFile(authorityNameOf[ca], directories);
  if (certificates.some((one) => haveSameKey(one, certificate))) {
    return [inUse(`${path} has the new CA`, ca)];
  }
  const signing = caPath(request, 'signing');
  const hasBegun = ca === 'kubernetes' && (await exists(signing));
  return hasBegun ? [inUse(`the step trust has begun: ${signing} exists`, ca)] : [];
}
