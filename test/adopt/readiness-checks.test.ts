import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { TestContext } from 'node:test';
import { planAdoption } from '../../src/adopt/adoption-plan.ts';
import type { AdoptionFacts } from '../../src/adopt/facts.ts';
import { makePair, present } from '../store/pairs.ts';
import {
  clientLink,
  configFile,
  embedding,
  kubeadmNode,
  kubeconfigFile,
  kubeletClient,
  kubeletConfig,
  kubeletServer,
  live,
  serverLink,
} from './kubeadm-node.ts';
import { planned, sentences } from './plan-text.ts';

describe('checkReadiness()', () => {
  const good = { ...kubeletClient };
  const link = clientLink;

  it('checkReadiness() refuses in the middle of a rotation', async (context) => {
    const found = await pairFrom(context);
    for (const name of ['client', 'serving'] as const) {
      const pair = { ...found[name], spec: good, link, halfDone: true };
      const plan = planAdoption({ ...found, [name]: pair });
      assert.deepEqual(
        plan.obstacles.map(({ id }) => id),
        ['rotation-half-done'],
      );
    }
  });

  const cases = [
    ['no client pair', 'client', {}, 'obstacle client-pair'],
    [
      'an unreadable client pair',
      'client',
      { failure: { code: 'PAIR_MALFORMED', message: 'torn' } },
      'obstacle client-pair',
    ],
    ['no serving pair', 'serving', {}, 'obstacle serving-pair'],
    [
      'a torn serving pair',
      'serving',
      { failure: { code: 'PAIR_MALFORMED', message: 'torn' } },
      'obstacle serving-pair',
    ],
  ] as const;
  for (const [name, which, look, expected] of cases) {
    it(`checkReadiness() refuses with ${name}`, async (context) => {
      const found = await pairFrom(context);
      const spec = which === 'client' ? kubeletClient : kubeletServer;
      const pair = {
        spec,
        link: which === 'client' ? clientLink : serverLink,
        halfDone: false,
        ...look,
      };
      const ids = planned({ ...found, [which]: pair });
      assert.deepEqual(
        ids.filter((id) => id.startsWith('obstacle')),
        [expected],
      );
    });
  }

  it('checkReadiness() refuses with a client pair that is expired, early, self-signed or of another node', async (context) => {
    const found = await pairFrom(context);
    const pair = found.client?.pair;
    assert.ok(pair !== undefined && found.client !== undefined);
    const other = { commonName: 'system:node:n2', organizations: ['system:nodes'] };
    const changes = [
      [{ notAfter: present }, 'client-pair'],
      [{ notBefore: present + 1 }, 'client-pair'],
      [{ selfSigned: true }, 'client-pair'],
      [{ subject: other }, 'node-name'],
    ] as const;
    for (const [change, id] of changes) {
      const client = { ...found.client, pair: { ...pair, ...change } };
      const plan = planAdoption({ ...found, client });
      assert.deepEqual(
        plan.obstacles.map((obstacle) => obstacle.id),
        [id],
      );
    }
  });

  it('checkReadiness() leaves the kubeconfig to an agent that has to bootstrap, if it can', async (context) => {
    const found = await pairFrom(context);
    const client = { spec: kubeletClient, link: clientLink, halfDone: false };
    assert.deepEqual(planned({ ...found, client, canBootstrap: true }), [
      'step kubelet-config',
      'note kubeadm-upgrade',
      'note agent-bootstraps',
      'note self-signed',
      'restart',
    ]);
  });

  it('checkReadiness() refuses where there is no kubeconfig and no way to one', async (context) => {
    const found = await pairFrom(context);
    const kubeconfig = { kind: 'missing', file: kubeconfigFile } as const;
    assert.deepEqual(
      planAdoption({ ...found, kubeconfig }).obstacles.map(({ id }) => id),
      ['kubeconfig-missing'],
    );
  });

  it('checkReadiness() says who gets a serving pair while the kubelet asks for it itself', async (context) => {
    const { facts } = await kubeadmNode(context, {
      [configFile]: `${kubeletConfig}serverTLSBootstrap: true\n`,
    });
    const serving = { spec: kubeletServer, link: serverLink, halfDone: false };
    const found = { ...live(await facts()), serving };
    const [obstacle] = planAdoption(found).obstacles;
    assert.equal(obstacle?.id, 'serving-pair');
    assert.match(
      obstacle.remedy,
      /^kubectl get csr: .* serverTLSBootstrap: false in .*config\.yaml/,
    );
    const config = { ...found.config, kubelet: { ...found.config.kubelet, deferToKubelet: false } };
    const [other] = planAdoption({ ...found, config }).obstacles;
    assert.match(other?.remedy ?? '', /^nodecertd status/);
  });

  it('checkReadiness() lets a serving certificate be expired: a kubelet starts with it', async (context) => {
    const found = await pairFrom(context);
    const pair = found.serving?.pair;
    assert.ok(pair !== undefined && found.serving !== undefined);
    const serving = { ...found.serving, pair: { ...pair, selfSigned: false, notAfter: 0 } };
    assert.deepEqual(planAdoption({ ...found, serving }).obstacles, []);
  });
});

async function pairFrom(context: TestContext): Promise<AdoptionFacts> {
  return live(await (await kubeadmNode(context)).facts(), { canBootstrap: false });
}

describe('checkReadiness() of an image', () => {
  it('checkReadiness() lets an image be prepared before there are pairs', async (context) => {
    const { tree, facts } = await kubeadmNode(context, { [kubeconfigFile]: '' });
    const found = await facts();
    const look = { spec: kubeletClient, link: clientLink, halfDone: false };
    const empty = { ...found, client: look, serving: { ...look, spec: kubeletServer } };
    assert.equal(tree.isMachine, false);
    assert.deepEqual(planned(empty), [
      'step kubelet-config',
      'note kubeadm-upgrade',
      'note first-start',
    ]);
  });

  it('checkReadiness() refuses to name a pair that is not there in a kubeconfig that is', async (context) => {
    const pair = await makePair();
    const { facts } = await kubeadmNode(context, { [kubeconfigFile]: embedding(pair) });
    const client = { spec: kubeletClient, link: clientLink, halfDone: false };
    const plan = planAdoption({ ...(await facts()), client });
    assert.deepEqual(
      plan.obstacles.map(({ id }) => id),
      ['client-pair'],
    );
    assert.match(sentences(plan), /Leave \/etc\/kubernetes\/kubelet\.conf out of the image/);
  });
});
