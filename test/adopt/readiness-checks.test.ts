import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { TestContext } from 'node:test';
import { planAdoption } from '../../src/adopt/plan-adoption.ts';
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

  it('refuses in the middle of a rotation', async (context) => {
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
  for (const [name, which, state, expected] of cases) {
    it(`refuses with ${name}`, async (context) => {
      const found = await pairFrom(context);
      const spec = which === 'client' ? kubeletClient : kubeletServer;
      const pair = {
        spec,
        link: which === 'client' ? clientLink : serverLink,
        halfDone: false,
        ...state,
      };
      const ids = planned({ ...found, [which]: pair });
      assert.deepEqual(
        ids.filter((id) => id.startsWith('obstacle')),
        [expected],
      );
    });
  }

  it('refuses a client pair that is expired, early, self-signed or of another node', async (context) => {
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

  it('leaves the kubeconfig to an agent that bootstraps', async (context) => {
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

  it('refuses without a kubeconfig and a bootstrap kubeconfig', async (context) => {
    const found = await pairFrom(context);
    const kubeconfig = { kind: 'missing', file: kubeconfigFile } as const;
    assert.deepEqual(
      planAdoption({ ...found, kubeconfig }).obstacles.map(({ id }) => id),
      ['kubeconfig-missing'],
    );
  });

  it('names the CSR of a kubelet that requests its serving certificate itself', async (context) => {
    const { facts } = await kubeadmNode(context, {
      [configFile]: `${kubeletConfig}serverTLSBootstrap: true\n`,
    });
    const serving = { spec: kubeletServer, link: serverLink, halfDone: false };
    const found = { ...live(await facts()), serving };
    const [obstacle] = planAdoption(found).obstacles;
    assert.equal(obstacle?.id, 'serving-pair');
    assert.match(
      obstacle.remedy,
      /^Approve the CSR of the kubelet: .* serverTLSBootstrap: false in .*config\.yaml/,
    );
    const config = { ...found.config, kubelet: { ...found.config.kubelet, deferToKubelet: false } };
    const [other] = planAdoption({ ...found, config }).obstacles;
    assert.match(other?.remedy ?? '', /^Check the reason: nodecertd status;/);
  });

  it('accepts an expired serving certificate, with which a kubelet starts', async (context) => {
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
  it('accepts an image without certificates', async (context) => {
    const { tree, facts } = await kubeadmNode(context, { [kubeconfigFile]: '' });
    const found = await facts();
    const missing = { spec: kubeletClient, link: clientLink, halfDone: false };
    const empty = { ...found, client: missing, serving: { ...missing, spec: kubeletServer } };
    assert.equal(tree.isMachine, false);
    assert.deepEqual(planned(empty), [
      'step kubelet-config',
      'note kubeadm-upgrade',
      'note first-start',
    ]);
  });

  it('refuses an image with a kubeconfig and no certificate', async (context) => {
    const pair = await makePair();
    const { facts } = await kubeadmNode(context, { [kubeconfigFile]: embedding(pair) });
    const client = { spec: kubeletClient, link: clientLink, halfDone: false };
    const plan = planAdoption({ ...(await facts()), client });
    assert.deepEqual(
      plan.obstacles.map(({ id }) => id),
      ['client-pair'],
    );
    assert.match(sentences(plan), /Remove \/etc\/kubernetes\/kubelet\.conf from the image/);
  });
});
