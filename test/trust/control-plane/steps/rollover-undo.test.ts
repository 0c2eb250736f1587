import assert from 'node:assert/strict';
import { createPrivateKey } from 'node:crypto';
import type { TestContext } from 'node:test';
import { describe, it } from 'node:test';
import type { IssuedBy } from '../../../../src/trust/cluster/issued-by.ts';
import type { ServerProbe } from '../../../../src/trust/cluster/probes.ts';
import {
  certificatesByNext,
  copiedAuthorities,
  keyDestroyed,
  lostOld,
} from '../../../../src/trust/control-plane/steps/rollover-undo.ts';
import type { NodePlaces } from '../../../../src/trust/control-plane/node-files.ts';
import { deleteCopies } from '../../../../src/trust/control-plane/undo.ts';
import { defaultDirectories } from '../../../../src/pki/layout.ts';
import { rolloverDirectory } from '../../../../src/pki/renewal/rollover-runs.ts';
import { authorityOf } from '../../../pki/renewal/openssl-authority.ts';
import type { StepNode } from '../step-node.ts';
import { stepNode } from '../step-node.ts';
import { clusterState, next, old } from '../../../support/rollover-state.ts';

const local = {
  isControlPlane: true,
  leaves: [{ place: 'apiserver.crt', issuer: 'old' }],
  signingFiles: [],
  trustFiles: [],
  kubeconfigs: [],
  keys: [],
} as const;

function probe(name: string, issuedBy: IssuedBy): ServerProbe {
  return {
    server: { name, host: '10.0.0.2', port: 6443 },
    served: { issuedBy, hasBridge: true },
    byOld: { kind: 'accepted' },
    byNext: { kind: 'accepted' },
  };
}

describe('certificatesByNext()', () => {
  const view = { state: clusterState(), authorities: { old, next }, local };

  it('finds nothing while the old CA has issued every certificate', () => {
    const probes = [probe('cp1', 'old'), probe('cp2', 'old')];
    assert.deepEqual(certificatesByNext({ ...view, probes }), []);
  });

  it('names an API server that serves a certificate from the new CA', () => {
    const probes = [probe('cp1', 'old'), probe('cp2', 'next')];
    const found = certificatesByNext({ ...view, probes });
    assert.deepEqual(
      found.map(({ objects }) => objects),
      [['cp2']],
    );
  });
});

describe('lostOld()', () => {
  const places = { ca: 'kubernetes', directories: defaultDirectories } as const;
  const key = { path: 'ca-previous.key', object: createPrivateKey(authorityOf().key) };

  it('finds nothing while every API server accepts the old CA and the node has its key', () => {
    assert.deepEqual(lostOld({ ...places, old: { key } }, { probes: [probe('cp1', 'next')] }), []);
  });

  it('names the API servers that reject the old CA', () => {
    const finished = { ...probe('cp2', 'next'), byOld: { kind: 'rejected' } } as const;
    const [found, ...others] = lostOld(
      { ...places, old: { key } },
      { probes: [probe('cp1', 'next'), finished] },
    );
    assert.deepEqual([found?.objects, others], [['cp2'], []]);
    assert.match(found?.remedy ?? '', /^Undo the step finish on these nodes first/);
  });

  it('refuses a node without the key of the old CA', () => {
    const [found] = lostOld({ ...places, old: {} }, { probes: [probe('cp1', 'next')] });
    assert.match(found?.remedy ?? '', /^Restore \S+\/ca-previous\.key from a backup/);
  });
});

async function finishedNode(context: TestContext): Promise<{
  readonly node: StepNode;
  readonly directory: string;
  readonly places: NodePlaces;
}> {
  const node = await stepNode(context);
  const directories = { kubernetes: node.directory, certificates: node.at('pki') };
  const places = { ca: 'kubernetes', tree: node.environment.tree, directories } as const;
  return { node, directory: rolloverDirectory(directories), places };
}

describe('keyDestroyed()', () => {
  it('refuses to undo the finish that removes the CAs of absent nodes', async (context) => {
    const { node, directory, places } = await finishedNode(context);
    const run = { directory, step: 'finish' } as const;
    const authority = authorityOf().certificate.toString();
    await node.write('pki/ca.crt', authority);
    const added = { 'pki/ca-clients.crt': authority };
    await node.run([{ name: 'kube-apiserver', texts: added }], run);
    assert.deepEqual(await keyDestroyed(places), []);
    await deleteCopies(directory, 'kubernetes');
    const removed = { 'pki/ca-clients.crt': undefined };
    await node.run([{ name: 'files of the rollover', texts: removed }], run);
    const [reason] = await keyDestroyed(places);
    assert.match(reason?.message ?? '', /^the key of the old CA is destroyed/);
  });
});

describe('copiedAuthorities()', () => {
  it('finds both CAs in the copies of finish, and nothing without copies', async (context) => {
    const { node, directory, places } = await finishedNode(context);
    const [oldCa, nextCa] = [authorityOf(), authorityOf({ subject: '/CN=next' })];
    await node.write('pki/ca-previous.crt', oldCa.certificate.toString());
    await node.write('pki/ca-next.crt', nextCa.certificate.toString());
    assert.equal(await copiedAuthorities(places), undefined);
    const texts = { 'pki/ca-next.crt': undefined, 'pki/ca-previous.crt': undefined };
    await node.run([{ name: 'files of the rollover', texts }], { directory, step: 'finish' });
    const found = await copiedAuthorities(places);
    assert.deepEqual([found?.old.subject, found?.next.subject], ['CN=kubernetes', 'CN=next']);
  });
});
