import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { minute, second } from '../../../src/core/instant.ts';
import type { ApproverPlane, Replica } from '../../support/approver-plane.ts';
import type { ApproverProxy } from '../../support/approver-proxy.ts';
import type { FaultProxy } from '../../support/fault-proxy.ts';
import { hastened } from '../../support/hastened-clock.ts';
import { scaled } from '../../support/machine-speed.ts';
import type { FaultOptions } from '../family.ts';
import type { ApproverFault, Stage } from './fault.ts';

/** CSRs that have to be approved in each trial. */
const csrsPerTrial = 8;

export interface ApproverBench {
  readonly cluster: ApproverPlane;
  readonly proxied: ApproverProxy;
}

export interface ApproverOutcome {
  readonly csrs: number;
  /** Seconds from the end of the fault until every CSR is decided. */
  readonly recovery: number;
  readonly seen: readonly string[];
}

/**
 * Takes an approver through one fault.
 * @throws Error with its log if a CSR was not decided exactly once, or wrongly
 */
export async function tryApprover(
  { cluster, proxied }: ApproverBench,
  { fault, name }: { readonly fault: ApproverFault; readonly name: string },
  { thorough }: FaultOptions,
): Promise<ApproverOutcome> {
  const { proxy, kubeconfig } = proxied;
  proxy.set(undefined);
  proxy.seen.splice(0);
  if (fault.atStart === true) proxy.set(fault.proxied);
  await cluster.setNode(`${name}-mover`, [{ type: 'Hostname', address: `${name}-mover` }]);
  const { haste } = fault;
  await using approver = cluster.startApprover({
    kubeconfig,
    ...(haste !== undefined && { clock: hastened(haste) }),
  });
  const stage: Stage = { cluster, proxy, approver, name };
  try {
    return await play(stage, fault, thorough);
  } catch (error) {
    const log = approver.lines.slice(-30).map((line) => JSON.stringify(line));
    const requests = proxy.seen.slice(-60).map(({ method, path, met }) => {
      return `${method} ${path.slice(0, 120)}${met ? ' (met the fault)' : ''}`;
    });
    const text = [`${fault.name}: ${String(error)}`, ...log, ...requests].join('\n');
    throw new Error(text, { cause: error });
  } finally {
    proxy.mute = false;
    proxy.set(undefined);
  }
}

async function play(
  stage: Stage,
  fault: ApproverFault,
  thorough: boolean,
): Promise<ApproverOutcome> {
  const { cluster, approver } = stage;
  if (fault.atStart !== true) {
    await cluster.until('readiness', () => isReady(approver));
    await begin(stage, fault);
  }
  const before = await countBefore(stage);
  const csrs = await createCsrs(stage);
  await fault.meanwhile?.(stage);
  const seconds = (fault.seconds ?? 0) * (thorough && isLasting(fault) ? 3 : 1);
  await untilMet(stage, fault, before.at + seconds * second);
  const seen = isLasting(fault) ? [await requireFewRequests(stage, before)] : [];
  requireAsked(stage, fault);
  assert.ok(!(await cluster.conditions(csrs.hostile)).includes('Approved'));

  const over = performance.now();
  await end(stage, fault);
  await fault.afterwards?.(stage);
  for (const name of csrs.good) await requireCondition(stage, name, 'Approved');
  await requireCondition(stage, csrs.hostile, 'Denied');
  const recovery = (performance.now() - over) / second;
  await cluster.until('readiness', () => isReady(approver));
  await requireOneDecision(stage, [...csrs.good, csrs.hostile]);
  return { csrs: csrs.good.length + 1, recovery, seen: [...codesOf(approver), ...seen] };
}

/** Every request that meets the fault fails, no matter how often the approver repeats it. */
function isLasting({ unreachable, proxied, codes }: ApproverFault): boolean {
  return unreachable !== undefined || (proxied?.times === undefined && codes.length > 0);
}

async function begin({ proxy }: Stage, { proxied, unreachable }: ApproverFault): Promise<void> {
  if (unreachable === 'refuses') return proxy.leave();
  proxy.mute = unreachable === 'mute';
  proxy.set(proxied);
  // Open watches have to meet the fault too.
  proxy.cut();
}

async function end({ proxy }: Stage, { unreachable, proxied }: ApproverFault): Promise<void> {
  if (unreachable === 'refuses') return proxy.listen();
  if (unreachable === 'mute') {
    proxy.mute = false;
    proxy.cut();
  }
  // A watch that began in the fault keeps its fault.
  if (proxied !== undefined) proxy.set(undefined);
}

/** Eight that have to be approved, and one that must never be. */
async function createCsrs({ cluster, name }: Stage): Promise<{
  readonly good: readonly string[];
  readonly hostile: string;
}> {
  const good = Array.from({ length: csrsPerTrial }, (_, at) => `${name}-good-${at}`);
  const hostile = `${name}-hostile`;
  for (const node of [...good, hostile]) {
    await cluster.setNode(node, [{ type: 'Hostname', address: node }]);
  }
  await Promise.all([
    ...good.map((node) => cluster.createCsr({ node, name: node, dns: [node] })),
    cluster.createCsr({ node: hostile, name: hostile, ips: ['10.96.0.1'] }),
  ]);
  return { good, hostile };
}

async function untilMet(
  { proxy, approver }: Stage,
  { unreachable, meets = 1, codes, asked }: ApproverFault,
  earliest: number,
): Promise<void> {
  const expected: ReadonlySet<string> = new Set(codes);
  const limit = performance.now() + scaled(3 * minute);
  for (;;) {
    const met = unreachable !== undefined || (proxy.met >= meets && isAskedAgain(proxy, asked));
    const isNamed = codes.length === 0 || codesOf(approver).some((code) => expected.has(code));
    if (met && isNamed && performance.now() >= earliest) return;
    if (performance.now() > limit) {
      throw new Error(
        `${proxy.met} requests met the fault; the log has ${codesOf(approver).join(', ')}`,
      );
    }
    await delay(20);
  }
}

async function requireCondition({ cluster }: Stage, name: string, type: string): Promise<void> {
  const found = await cluster.until(
    `${name} ${type}`,
    async () => (await cluster.conditions(name))[0],
    180,
  );
  assert.equal(found, type, name);
}

/** The API server has accepted exactly one request that decides about each CSR. */
async function requireOneDecision({ cluster }: Stage, names: readonly string[]): Promise<void> {
  const requests = (await cluster.requests()).filter(({ resource }) =>
    resource.endsWith('/approval'),
  );
  for (const name of names) {
    const codes = requests.filter((request) => request.name === name).map(({ code }) => code);
    const accepted = codes.filter((code) => code === 200).length;
    assert.equal(accepted, 1, `${accepted} decisions about ${name}: ${codes.join(', ')}`);
  }
}

interface Before {
  /** On the monotonic clock of this process. */
  readonly at: number;
  readonly connections: number;
  readonly failed: number;
}

async function countBefore({ proxy, approver }: Stage): Promise<Before> {
  const failed = await failedRequests(approver);
  return { at: performance.now(), connections: proxy.connections.length, failed };
}

/**
 * One failed request or connection a second, after one from each loop of the approver. Follows from the
 * delays, which double from half a second in each loop (src/core/timing.ts).
 */
async function requireFewRequests({ proxy, approver }: Stage, before: Before): Promise<string> {
  const seconds = (performance.now() - before.at) / second;
  const most = Math.max(
    proxy.seen.filter(({ at, met }) => met && at >= before.at).length,
    proxy.connections.length - before.connections,
    // No proxy sees a connection that is refused.
    (await failedRequests(approver)) - before.failed,
  );
  assert.ok(most <= seconds + loops, `${most} requests in ${seconds} s`);
  return `${most} requests in ${seconds.toFixed(0)} s`;
}

async function failedRequests(approver: Replica): Promise<number> {
  if (approver.logged('metrics_listening').length === 0) return 0;
  const { text } = await approver.page('/metrics');
  return [...text.matchAll(/^nodecertd_approver_api_requests_total\{.*code="(.*)"\} (\d+)$/gm)]
    .filter(([, code = '']) => !/^(?:2\d\d|ABORTED)$/.test(code))
    .reduce((sum, [, , count]) => sum + Number(count), 0);
}

/** Five resources, the Lease and the workers, which learn of the failure at the same time. */
const loops = 22;

/** After the first requests, which were sent at the same time, none may precede the end of Retry-After. */
function requireAsked({ proxy }: Stage, { asked }: ApproverFault): void {
  if (asked === undefined) return;
  const [first = 0, ...later] = timesMet(proxy);
  const early = later.filter((at) => at > first + second && at < first + asked * second);
  assert.deepEqual(early, [], 'requests before the end of Retry-After');
  assert.ok(isAskedAgain(proxy, asked));
}

/** A request has met the fault after the end of Retry-After. */
function isAskedAgain(proxy: FaultProxy, asked = 0): boolean {
  const times = timesMet(proxy);
  const [first = 0] = times;
  return asked === 0 || times.some((at) => at >= first + asked * second);
}

/** In milliseconds. */
function timesMet(proxy: FaultProxy): number[] {
  return proxy.seen.filter(({ met }) => met).map(({ at }) => at);
}

async function isReady(approver: Replica): Promise<boolean> {
  if (approver.logged('metrics_listening').length === 0) return false;
  return (await approver.page('/readyz')).text === 'leader\n';
}

function codesOf(approver: Replica): string[] {
  return [...new Set(approver.logged('approver_retrying').map(({ code }) => String(code)))];
}
