import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ControlPlaneAnnotation } from '../../../src/core/control-plane-annotation.ts';
import { shortFingerprint } from '../../../src/core/trust.ts';
import type { ClusterState } from '../../../src/trust/cluster/state.ts';
import type { ControlPlaneNode } from '../../../src/trust/control-plane/control-plane-nodes.ts';
import {
  otherNewAuthorities,
  usersOf,
} from '../../../src/trust/control-plane/new-authority-report.ts';
import {
  authority,
  both,
  clusterState,
  next,
  node,
  now,
  old,
  onlyOld,
  read,
  report,
} from '../../support/rollover-state.ts';

const nextDigits = shortFingerprint(next.fingerprint);
const third = authority('c');

/** A cluster that publishes one CA. */
function beforeTrust(changes: Partial<ClusterState> = {}): ClusterState {
  const { places } = report();
  const [digits = ''] = places.kubeconfig;
  const single = { kubeconfig: [digits], clientCa: [digits] };
  return clusterState({
    nodes: read([node('worker-1', { report: report({ places: single }) })]),
    rootCas: read(new Map([['default', onlyOld]])),
    trustBundles: read(new Map([['bundle', onlyOld]])),
    clusterInfo: read(onlyOld),
    ...changes,
  });
}

function controlPlane(name: string, newCa?: string): ControlPlaneNode {
  const found: ControlPlaneAnnotation = {
    authorities: [shortFingerprint(old.fingerprint)],
    leaves: {},
    startedAt: {},
    reportedAt: now,
    ...(newCa !== undefined && { next: newCa }),
  };
  return { name, isReady: true, addresses: [`10.0.0.${name.at(-1)}`], report: found };
}

function messagesFor(
  others: readonly ControlPlaneNode[],
  known: Parameters<typeof otherNewAuthorities>[1],
  state = beforeTrust(),
): string[] {
  return otherNewAuthorities({ state, others }, known).map(({ message }) => message);
}

describe('otherNewAuthorities()', () => {
  it('allows the first CA, and a copy of it on each node', () => {
    assert.deepEqual(messagesFor([controlPlane('cp2')], { signing: old }), []);
    const copied = messagesFor([controlPlane('cp2', nextDigits)], { signing: old, next });
    assert.deepEqual(copied, []);
  });

  it('refuses a second CA while another node reports one', () => {
    const others = [controlPlane('cp2', nextDigits)];
    assert.deepEqual(messagesFor(others, { signing: old }), [
      `the Node cp2 reports the new CA ${nextDigits}`,
    ]);
    assert.deepEqual(messagesFor(others, { signing: old, next: third }), [
      `the Node cp2 reports the new CA ${nextDigits}, and this node has cccccccccccccccc`,
    ]);
  });

  it('refuses a node that lacks a CA of the cluster', () => {
    const state = beforeTrust({ clusterInfo: read(both) });
    const [message = ''] = messagesFor([], { signing: old }, state);
    assert.match(message, /^the cluster publishes the CA CN=kubernetes \(bbbbbbbbbbbbbbbb\)/);
    assert.deepEqual(messagesFor([], { signing: old, next }, state), []);
    // After a rollover that is not finished everywhere.
    assert.equal(messagesFor([], { signing: next }, state).length, 1);
  });
});

describe('usersOf()', () => {
  it('is empty while nothing but control-plane nodes has the new CA', () => {
    assert.deepEqual(usersOf(next, beforeTrust()), []);
  });

  it('has the cluster that publishes it, and the nodes that trust it', () => {
    const nodes = read([node('worker-1'), node('worker-2')]);
    assert.deepEqual(
      usersOf(next, beforeTrust({ nodes })).map(({ objects }) => objects),
      [['worker-1', 'worker-2']],
    );
    const published = usersOf(next, beforeTrust({ rootCas: read(new Map([['default', both]])) }));
    assert.deepEqual(
      published.map(({ message }) => message),
      ['the cluster publishes the new CA'],
    );
  });
});
