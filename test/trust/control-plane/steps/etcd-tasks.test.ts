import assert from 'node:assert/strict';
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import type { TestContext } from 'node:test';
import { describe, it } from 'node:test';
import type { Clock } from '../../../../src/sys/clock.ts';
import { systemClock } from '../../../../src/sys/clock.ts';
import {
  etcdFinishTasks,
  etcdTrustTasks,
} from '../../../../src/trust/control-plane/steps/etcd-tasks.ts';
import { openssl } from '../../../core/openssl.ts';
import { ApiServer, sendJson } from '../../../kube/support/api-server.ts';
import type { OpensslPair } from '../../../pki/renewal/openssl-authority.ts';
import {
  authorityOf,
  issueWithOpenssl,
  leafExtensions,
} from '../../../pki/renewal/openssl-authority.ts';
import type { KubeadmTree } from '../../../pki/renewal/renewal-tree.ts';
import { copyOf, sharedTree, writePair } from '../../../pki/renewal/renewal-tree.ts';
import { hastened } from '../../../support/hastened-clock.ts';
import {
  changedFiles,
  contextOf,
  manifestIn,
  plan,
  textIn,
  walkOf,
  write,
  writeManifests,
} from '../rollover-tree.ts';

const tree = sharedTree();

interface CreatedNode extends KubeadmTree {
  readonly old: OpensslPair;
  readonly next: OpensslPair;
}

/** A node after the step `create`. */
async function created(context: TestContext): Promise<CreatedNode> {
  const copy = await copyOf(context, tree);
  await writeManifests(copy);
  const next = authorityOf({ subject: '/CN=etcd-ca 2026-11' });
  await writePair(join(copy.certificates, 'etcd/ca-next.crt'), next);
  return { ...copy, old: copy.authorities['etcd-ca'], next };
}

const { signal } = new AbortController();
/** Two minutes pass in a second. Requests have their whole time. */
const fast: Clock = { ...systemClock, elapsed: () => hastened(120).elapsed() };

/** The member of this node, which trusts these CAs. It knows another member, which does not run. */
async function memberOf(node: CreatedNode, trusted: readonly OpensslPair[]): Promise<ApiServer> {
  const signer = node.old;
  const extensions = [...leafExtensions.slice(0, -1), 'subjectAltName=IP:127.0.0.1'];
  const leaf = issueWithOpenssl({ subject: '/CN=cp1', extensions, signer });
  const ca = trusted.map(({ certificate }) => certificate);
  const server: ApiServer = await ApiServer.start(
    (request, response) => {
      if (!(request.socket as TLSSocket).authorized) return void response.writeHead(401).end();
      const clientURLs = [[server.url], ['https://127.0.0.1:1']];
      const members = clientURLs.map((urls, at) => ({ name: `cp${at + 1}`, clientURLs: urls }));
      const isList = request.url === '/v3/cluster/member/list';
      sendJson(response, isList ? { members } : { leader: '7' });
    },
    {
      pair: { cert: leaf.certificate.toString(), key: leaf.key.toString() },
      tls: { ca, requestCert: true, rejectUnauthorized: false },
    },
  );
  const path = manifestIn(node, 'etcd');
  const text = await readFile(path, 'utf8');
  const urls = text.replace(/(--listen-(?:client|peer)-urls=)\S+/g, `$1${server.url}`);
  await writeFile(path, urls);
  return server;
}

const pairs = ['etcd/peer', 'etcd/server', 'etcd/healthcheck-client', 'apiserver-etcd-client'];

function isBy(node: KubeadmTree, ca: string, pair: string): boolean {
  const file = join(node.certificates, `${pair}.crt`);
  try {
    openssl(['verify', '-CAfile', join(node.certificates, ca), file]);
    return true;
  } catch {
    return false;
  }
}

async function namesIn({ certificates }: KubeadmTree): Promise<string[]> {
  return (await readdir(join(certificates, 'etcd'))).toSorted();
}

describe('the steps of the CA of etcd', () => {
  it('trust writes the old and the new CA, and restarts etcd and then kube-apiserver', async (t) => {
    const node = await created(t);
    const { tasks } = await plan(node, 'trust', 'etcd');
    assert.deepEqual(
      tasks.map(({ files, restart }) => [files.length, restart?.component, restart?.reads]),
      [
        [1, 'etcd', [join(node.certificates, 'etcd/ca.crt')]],
        [0, undefined, undefined],
        [0, 'kube-apiserver', [join(node.certificates, 'etcd/ca.crt')]],
      ],
    );
    await walkOf('etcd', node, 'trust');
    assert.equal(
      await textIn(node, 'etcd/ca.crt'),
      `${node.old.certificate.toString()}${node.next.certificate.toString()}`,
    );
    assert.deepEqual(changedFiles(await plan(node, 'trust', 'etcd')), []);
  });

  it('switch replaces the four certificates, the peer certificate last, without a restart', async (t) => {
    const node = await created(t);
    await walkOf('etcd', node, 'trust');
    const { tasks } = await plan(node, 'switch', 'etcd');
    assert.deepEqual(
      tasks.map(({ name, restart }) => [name, restart?.component]),
      [
        ['previous CA', undefined],
        ['etcd-healthcheck-client', undefined],
        ['apiserver-etcd-client', undefined],
        ['etcd-server', undefined],
        ['etcd-peer', undefined],
        ['signing CA', undefined],
      ],
    );
    await walkOf('etcd', node, 'switch');
    for (const pair of pairs) assert.ok(isBy(node, 'etcd/ca-next.crt', pair), pair);
    assert.equal(await textIn(node, 'etcd/ca.key'), await textIn(node, 'etcd/ca-next.key'));
    assert.equal(await textIn(node, 'etcd/ca-previous.crt'), node.old.certificate.toString());
    assert.equal(
      await textIn(node, 'etcd/ca.crt'),
      `${node.next.certificate.toString()}${node.old.certificate.toString()}`,
    );
    assert.deepEqual(changedFiles(await plan(node, 'switch', 'etcd')), []);
  });

  it('finish leaves the new CA alone, with the file names of kubeadm', async (t) => {
    const node = await created(t);
    await walkOf('etcd', node, 'trust', 'switch', 'finish');
    assert.equal(await textIn(node, 'etcd/ca.crt'), node.next.certificate.toString());
    for (const pair of pairs) assert.ok(isBy(node, 'etcd/ca.crt', pair), pair);
    for (const name of ['ca-next', 'ca-previous']) {
      for (const suffix of ['crt', 'key']) {
        const path = join(node.certificates, `etcd/${name}.${suffix}`);
        await assert.rejects(readFile(path), { code: 'ENOENT' });
      }
    }
  });

  it('switch repairs a certificate that kubeadm has issued with the old CA', async (t) => {
    const node = await created(t);
    await walkOf('etcd', node, 'trust');
    const [before = '', key = ''] = await Promise.all(
      ['etcd/server.crt', 'etcd/server.key'].map(async (name) => textIn(node, name)),
    );
    await walkOf('etcd', node, 'switch');
    await writeFile(join(node.certificates, 'etcd/server.crt'), before);
    await writeFile(join(node.certificates, 'etcd/server.key'), key);
    assert.deepEqual(changedFiles(await plan(node, 'switch', 'etcd')), [
      'etcd-server: server.crt (a certificate from the new CA)',
      'etcd-server: server.key (a new key)',
    ]);
  });

  it('trust repairs a CA file from a backup after switch', async (t) => {
    const node = await created(t);
    const backup = await textIn(node, 'etcd/ca.crt');
    await walkOf('etcd', node, 'trust', 'switch');
    await writeFile(join(node.certificates, 'etcd/ca.crt'), backup);
    const { obstacles, isRepair, tasks } = await plan(node, 'trust', 'etcd');
    assert.deepEqual([obstacles, isRepair], [[], true]);
    assert.equal(tasks[0]?.files[0]?.path, join(node.certificates, 'etcd/ca.crt'));
  });

  it('abort after create removes the new CA, and restarts nothing', async (t) => {
    const node = await created(t);
    assert.deepEqual(changedFiles(await plan(node, 'abort', 'etcd')), [
      'files of the rollover: ca-next.key (removed)',
      'files of the rollover: ca-next.crt (removed)',
    ]);
  });

  it('abort after trust writes the old CA alone, and restarts etcd and kube-apiserver', async (t) => {
    const node = await created(t);
    const names = await namesIn(tree);
    await walkOf('etcd', node, 'trust');
    const { tasks } = await plan(node, 'abort', 'etcd');
    assert.deepEqual(
      tasks.map(({ files, restart }) => [files.length, restart?.component]),
      [
        [1, 'etcd'],
        [0, undefined],
        [0, 'kube-apiserver'],
      ],
    );
    await walkOf('etcd', node, 'abort');
    assert.equal(await textIn(node, 'etcd/ca.crt'), node.old.certificate.toString());
    assert.deepEqual(await namesIn(node), names);
  });

  it('abort after switch issues from the old CA, in the order of switch, and then trust is undone', async (t) => {
    const node = await created(t);
    const names = await namesIn(tree);
    await walkOf('etcd', node, 'trust', 'switch');
    const { tasks, lastTasks } = await plan(node, 'abort', 'etcd');
    assert.deepEqual(
      tasks.map(({ name, restart }) => [name, restart?.component]),
      [
        ['etcd-healthcheck-client', undefined],
        ['apiserver-etcd-client', undefined],
        ['etcd-server', undefined],
        ['etcd-peer', undefined],
        ['signing CA', undefined],
      ],
    );
    assert.deepEqual(
      lastTasks.flatMap(({ files }) => files.map(({ path }) => path.split('/').at(-1))),
      ['ca-previous.key', 'ca-previous.crt'],
    );
    await walkOf('etcd', node, 'abort');
    for (const pair of pairs) assert.ok(!isBy(node, 'etcd/ca-next.crt', pair), pair);
    assert.equal(await textIn(node, 'etcd/ca.key'), await textIn(tree, 'etcd/ca.key'));
    assert.deepEqual(changedFiles(await plan(node, 'trust', 'etcd')), []);
    await walkOf('etcd', node, 'abort');
    for (const pair of pairs) assert.ok(isBy(node, 'etcd/ca.crt', pair), pair);
    assert.deepEqual(await namesIn(node), names);
  });

  it('abort keeps a certificate that is from the old CA already', async (t) => {
    const node = await created(t);
    const [server = '', key = ''] = await Promise.all(
      ['etcd/server.crt', 'etcd/server.key'].map(async (name) => textIn(node, name)),
    );
    await walkOf('etcd', node, 'trust', 'switch');
    await writeFile(join(node.certificates, 'etcd/server.crt'), server);
    await writeFile(join(node.certificates, 'etcd/server.key'), key);
    await walkOf('etcd', node, 'abort');
    assert.equal(await textIn(node, 'etcd/server.crt'), server);
    assert.ok(!isBy(node, 'etcd/ca-next.crt', 'etcd/peer'));
  });

  for (const [steps, done] of [
    [['trust'], 1],
    [['trust', 'switch'], 1],
    [['trust', 'switch'], 4],
    [['trust', 'switch'], 5],
  ] as const) {
    it(`abort completes a return from ${steps.at(-1)} that ended after task ${done}`, async (t) => {
      const node = await created(t);
      const names = await namesIn(tree);
      await walkOf('etcd', node, ...steps);
      const { tasks } = await plan(node, 'abort', 'etcd');
      for (const task of tasks.slice(0, done)) await write(task);
      await walkOf('etcd', node, ...steps.map(() => 'abort' as const));
      for (const pair of pairs) assert.ok(isBy(node, 'etcd/ca.crt', pair), pair);
      assert.equal(await textIn(node, 'etcd/ca.crt'), node.old.certificate.toString());
      assert.equal(await textIn(node, 'etcd/ca.key'), await textIn(tree, 'etcd/ca.key'));
      assert.deepEqual(await namesIn(node), names);
    });
  }

  it('abort is refused after finish has begun, and names the rollover to the old CA', async (t) => {
    const node = await created(t);
    await walkOf('etcd', node, 'trust', 'switch');
    await writeFile(join(node.certificates, 'etcd/ca.crt'), node.next.certificate);
    const { obstacles, tasks } = await plan(node, 'abort', 'etcd');
    assert.match(obstacles[0]?.message ?? '', /etcd\/ca.crt no longer has the old CA/);
    assert.match(obstacles[0]?.remedy ?? '', /apply create --ca etcd --import DIR$/);
    assert.deepEqual(tasks, []);
  });

  const order: readonly (readonly [
    'trust' | 'switch' | 'finish',
    readonly ('trust' | 'switch' | 'finish')[],
    RegExp,
  ])[] = [
    ['switch', [], /^the step trust is not complete on this node$/],
    ['finish', ['trust'], /^the step switch is not complete on this node$/],
    ['trust', ['trust', 'switch'], /^the step switch has begun on this node/],
  ];
  for (const [step, done, message] of order) {
    it(`${step} is refused after ${done.join(' and ') || 'create'}`, async (t) => {
      const node = await created(t);
      await walkOf('etcd', node, ...done);
      const { obstacles, tasks } = await plan(node, step, 'etcd');
      assert.match(obstacles[0]?.message ?? '', message);
      assert.match(obstacles[0]?.remedy ?? '', /--ca etcd$/);
      assert.deepEqual(tasks, []);
    });
  }

  it('switch is refused after finish has begun, because etcd has dropped the old CA', async (t) => {
    const node = await created(t);
    await walkOf('etcd', node, 'trust', 'switch');
    await writeFile(join(node.certificates, 'etcd/ca.crt'), node.next.certificate);
    const { obstacles } = await plan(node, 'switch', 'etcd');
    assert.match(obstacles[0]?.message ?? '', /^the step finish has begun on this node/);
  });

  it('each step is refused on a node without a member, and says what to do', async (t) => {
    const node = await created(t);
    await rm(manifestIn(node, 'etcd'));
    for (const step of ['trust', 'switch', 'finish'] as const) {
      const { obstacles } = await plan(node, step, 'etcd');
      assert.match(
        obstacles[0]?.message ?? '',
        /^no static pod and no unit on this node runs etcd/,
      );
      assert.match(obstacles[0]?.remedy ?? '', /^Start etcd on this node\./);
    }
  });

  const flags: readonly (readonly [string, string, string, RegExp])[] = [
    [
      'etcd',
      '--peer-trusted-ca-file=',
      '/mnt/peers.crt',
      /^etcd has .* as --peer-trusted-ca-file, and not /,
    ],
    [
      'kube-apiserver',
      '--etcd-cafile=',
      '/mnt/etcd.crt',
      /^kube-apiserver has .* as --etcd-cafile/,
    ],
    [
      'kube-apiserver',
      '--etcd-servers=',
      'https://127.0.0.1:2379,https://10.0.0.6:2379',
      /^kube-apiserver on this node uses etcd members on other nodes$/,
    ],
  ];
  for (const [component, flag, value, message] of flags) {
    it(`trust is refused if ${component} has another ${flag}`, async (t) => {
      const node = await created(t);
      const path = manifestIn(node, component);
      const text = await readFile(path, 'utf8');
      await writeFile(path, text.replace(new RegExp(`${flag}\\S+`), `${flag}${value}`));
      const { obstacles } = await plan(node, 'trust', 'etcd');
      assert.match(obstacles[0]?.message ?? '', message);
    });
  }

  for (const [step, tasksOf] of [
    ['trust', etcdTrustTasks],
    ['finish', etcdFinishTasks],
  ] as const) {
    it(`${step} restores nothing and stops if another member is down`, async (t) => {
      const node = await created(t);
      if (step === 'finish') await walkOf('etcd', node, 'trust', 'switch');
      await using _ = await memberOf(node, step === 'trust' ? [node.old, node.next] : [node.next]);
      const context = { ...(await contextOf(node, 'etcd')), clock: fast };
      const [own, members, apiServer] = await tasksOf(context);
      assert.equal(own?.restart?.component, 'etcd');
      await own.check?.(signal);
      assert.deepEqual([members?.files, members?.restart], [[], undefined]);
      await assert.rejects(async () => members?.check?.(signal), {
        code: 'CERT_UNTRUSTED',
        message: /^the etcd member cp2 does not answer/,
      });
      assert.equal(apiServer?.restart?.component, 'kube-apiserver');
    });
  }
});
