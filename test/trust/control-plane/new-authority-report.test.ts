import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ControlPlaneAnnotation } from '../../../src/core/control-plane-annotation.ts';
import { shortFingerprint } from '../../../src/core/trust.ts';
import { defaultDirectories } from '../../../src/pki/layout.ts';
import type { TrustAuthority } from '../../../src/core/trust.ts';
import type { CaName } from '../../../src/trust/control-plane/task.ts';
import type { ClusterState } from '../../../src/trust/cluster/state.ts';
import type { ControlPlaneNode } from '../../../src/trust/control-plane/control-plane-nodes.ts';
import {
  bundlesOn,
  otherNewAuthorities,
  otherPublished,
  reportTask,
  unknownIssuerTask,
  unrelatedAuthorities,
  usersOf,
} from '../../../src/trust/control-plane/new-authority-report.ts';
import { copyOf, sharedTree } from '../../pki/renewal/renewal-tree.ts';
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
import { AnnotatedNode } from './annotated-node.ts';

const nextDigits = shortFingerprint(next.fingerprint);
const third = authority('c');
const tree = sharedTree();

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
  next?: TrustAuthority,
  ca: CaName = 'kubernetes',
): string[] {
  const request = { ca, directories: defaultDirectories };
  return otherNewAuthorities(others, { request, next }).map(({ message }) => message);
}

describe('otherNewAuthorities()', () => {
  it('allows the first CA, and a copy of it on each node', () => {
    assert.deepEqual(messagesFor([controlPlane('cp2')]), []);
    const copied = messagesFor([controlPlane('cp2', nextDigits)], next);
    assert.deepEqual(copied, []);
  });

  it('refuses a second CA while another node reports one', () => {
    const others = [controlPlane('cp2', nextDigits)];
    assert.deepEqual(messagesFor(others), [`the Node cp2 reports the new CA ${nextDigits}`]);
    assert.deepEqual(messagesFor(others, third), [
      `the Node cp2 reports the new CA ${nextDigits}, and this node has cccccccccccccccc`,
    ]);
  });

  it('compares the new CAs of etcd and of the front proxy on their own', () => {
    const [other] = [controlPlane('cp2', nextDigits)];
    assert.ok(other?.report !== undefined);
    const report = { ...other.report, etcdNext: 'e'.repeat(16), frontProxyNext: nextDigits };
    const others = [{ ...other, report }];
    assert.deepEqual(messagesFor(others, next, 'front-proxy'), []);
    const [reason, ...more] = otherNewAuthorities(others, {
      request: { ca: 'etcd', directories: defaultDirectories },
      next,
    });
    assert.deepEqual(more, []);
    assert.match(reason?.message ?? '', /reports the new CA e{16}, and this node has b{16}$/);
    const files =
      /^Copy \/etc\/kubernetes\/pki\/etcd\/ca-next.crt \(and .*\/etcd\/ca-next.key, unless etcd is external\) from/;
    assert.match(reason?.remedy ?? '', files);
  });
});

describe('bundlesOn()', () => {
  it('has the other nodes that report two CAs in the file', () => {
    const others = [controlPlane('cp2'), controlPlane('cp3')].map((node, at) => ({
      ...node,
      ...(node.report && { report: { ...node.report, etcdAuthorities: at + 1 } }),
    }));
    const [reason] = bundlesOn(others, 'etcd');
    assert.deepEqual(reason?.objects, ['cp3']);
    assert.deepEqual(bundlesOn(others, 'front-proxy'), []);
  });
});

describe('otherPublished()', () => {
  it('refuses a node that lacks a CA of the cluster', () => {
    const state = beforeTrust({ clusterInfo: read(both) });
    const messagesWith = (known: Parameters<typeof otherPublished>[1]): string[] =>
      otherPublished(state, known).map(({ message }) => message);
    const [message = ''] = messagesWith({ signing: old });
    assert.match(message, /^the cluster publishes the CA CN=kubernetes \(bbbbbbbbbbbbbbbb\)/);
    assert.deepEqual(messagesWith({ signing: old, next }), []);
    // After a rollover that is not finished everywhere.
    assert.equal(messagesWith({ signing: next }).length, 1);
  });

  it('refuses a CA that kube-controller-manager publishes, and allows one in cluster-info', () => {
    const other = { authorities: [old, third] };
    const known = { signing: old };
    const root = beforeTrust({ rootCas: read(new Map([['default', other]])) });
    assert.equal(otherPublished(root, known).length, 1);
    assert.deepEqual(unrelatedAuthorities(root, known), []);
    const joining = beforeTrust({ clusterInfo: read(other) });
    assert.deepEqual(otherPublished(joining, known), []);
    assert.deepEqual(unrelatedAuthorities(joining, known), [third]);
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

describe('unknownIssuerTask()', () => {
  it('reports the files of the node without the issuer, which reportTask() then adds', async (context) => {
    const directories = await copyOf(context, tree);
    await using stored = await AnnotatedNode.start();
    const { reports } = stored;
    const request = stored.request('front-proxy', directories);
    const own = { name: 'cp1', isReady: true, addresses: [] };
    const [before] = unknownIssuerTask(own, { request, isDone: false });
    const [after] = await reportTask(own, { request, isChanged: true });
    await before?.run(request.signal);
    await after?.run(request.signal);
    assert.deepEqual(
      reports.map((one) => [one.frontProxyAuthorities, one.frontProxyClient?.length]),
      [
        [1, undefined],
        [1, 16],
      ],
    );
  });
});
