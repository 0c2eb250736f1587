import assert from 'node:assert/strict';
import { chmod, copyFile, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { describe, it } from 'node:test';
import type { NodeStep } from '../../../src/trust/control-plane/node-step.ts';
import { planNodeStep } from '../../../src/trust/control-plane/node-step.ts';
import { openssl } from '../../core/openssl.ts';
import type { OpensslPair } from '../../pki/renewal/openssl-authority.ts';
import {
  authorityOf,
  caExtensions,
  issueWithOpenssl,
  leafExtensions,
} from '../../pki/renewal/openssl-authority.ts';
import type { KubeadmTree } from '../../pki/renewal/renewal-tree.ts';
import { FakeClock } from '../../support/fake-clock.ts';
import { copyOf, kubeconfigOf, sharedTree, writePair } from '../../pki/renewal/renewal-tree.ts';
import {
  changedFiles,
  contextOf,
  manifestIn,
  plan,
  textIn,
  walk,
  withoutAnnotation,
  write,
  writeStep,
  writeManifests,
  writeNextAuthority,
} from './rollover-tree.ts';

const tree = sharedTree();

/** A node after the step `create`. */
async function created(context: TestContext): Promise<KubeadmTree> {
  const copy = await copyOf(context, tree);
  await writeManifests(copy);
  await writeNextAuthority(copy, copy.authorities.ca);
  return copy;
}

const manager = 'kube-controller-manager';

/** Each file of a node that a mistake, `kubeadm` or a backup may change, and the step that repairs it. */
const repairs: readonly {
  readonly name: string;
  readonly after: readonly ('trust' | 'switch')[];
  readonly change: (node: KubeadmTree) => Promise<unknown>;
  readonly changed: readonly string[];
  readonly harm?: RegExp;
}[] = [
  {
    name: 'the flags that kubeadm upgrade has reset while ca.crt has both CAs',
    after: ['trust'],
    change: writeManifests,
    changed: [`${manager}: kube-controller-manager.yaml`],
    harm: /signs nothing: --cluster-signing-cert-file names .*ca.crt, which has 2 certificates/,
  },
  {
    name: 'the flags that kubeadm upgrade has reset after the switch',
    after: ['trust', 'switch'],
    change: writeManifests,
    changed: [`${manager}: kube-controller-manager.yaml`],
    harm: /signs nothing/,
  },
  {
    name: 'a kubeconfig in which kubeadm certs renew has left one CA',
    after: ['trust'],
    change: async (node) =>
      writeFile(
        join(node.kubernetes, 'admin.conf'),
        kubeconfigOf(node.authorities.ca.certificate, leaf(node)),
      ),
    changed: ['admin.conf: admin.conf'],
  },
  {
    name: 'a certificate whose bridge kubeadm certs renew has dropped',
    after: ['trust', 'switch'],
    change: async (node) => {
      const first = (await textIn(node, 'apiserver.crt')).split(/(?<=-----END CERTIFICATE-----\n)/);
      await writeFile(join(node.certificates, 'apiserver.crt'), first[0] ?? '');
    },
    changed: ['apiserver: apiserver.crt'],
  },
  {
    name: 'ca.crt from a backup',
    after: ['trust', 'switch'],
    change: async (node) =>
      copyFile(join(node.certificates, 'ca-previous.crt'), join(node.certificates, 'ca.crt')),
    changed: ['signing files: ca.crt'],
    harm: /ca.key does not match the first certificate of .*ca.crt/,
  },
  {
    name: 'ca.crt with the new CA alone, before the node has a certificate from it',
    after: ['trust'],
    change: async (node) =>
      copyFile(join(node.certificates, 'ca-next.crt'), join(node.certificates, 'ca.crt')),
    changed: ['trusted CAs: ca.crt'],
    harm: /ca.key does not match/,
  },
  {
    name: 'a key that a crash has separated from its certificate',
    after: ['trust', 'switch'],
    change: async (node) =>
      copyFile(
        join(node.certificates, 'apiserver-kubelet-client.key'),
        join(node.certificates, 'apiserver.key'),
      ),
    changed: ['apiserver: apiserver.crt', 'apiserver: apiserver.key'],
  },
];

function leaf({ authorities }: KubeadmTree): OpensslPair {
  return issueWithOpenssl({
    subject: '/CN=admin',
    extensions: leafExtensions,
    signer: authorities.ca,
  });
}

async function planKeeping(node: KubeadmTree): Promise<NodeStep> {
  return planNodeStep('finish', { ...(await contextOf(node)), keepsAbsentNodes: true });
}

describe('planNodeStep()', () => {
  it('trust gives the signer files of its own before ca.crt has both CAs', async (context) => {
    const node = await created(context);
    assert.deepEqual(namesOf(changedFiles(await plan(node, 'trust'))), [
      'signing files: ca-signing.crt',
      'signing files: ca-signing.key',
      'signing files: ca-bundle.crt',
      `${manager}: controller-manager.conf`,
      `${manager}: kube-controller-manager.yaml`,
      'trusted CAs: ca.crt',
      'kube-scheduler: scheduler.conf',
      'super-admin.conf: super-admin.conf',
      'admin.conf: admin.conf',
    ]);
    const [oldCa, nextCa, manifest] = [
      await textIn(node, 'ca.crt'),
      await textIn(node, 'ca-next.crt'),
      await readFile(manifestIn(node, manager), 'utf8'),
    ];
    await walk(node, 'trust');
    assert.equal(await textIn(node, 'ca.crt'), oldCa + nextCa);
    assert.equal(await textIn(node, 'ca-signing.crt'), oldCa);
    assert.equal(await textIn(node, 'ca-signing.key'), await textIn(node, 'ca.key'));
    const changed = withoutAnnotation(await readFile(manifestIn(node, manager), 'utf8'));
    const pki = `${node.certificates}/`;
    assert.equal(
      changed,
      manifest
        .replace(
          `--cluster-signing-cert-file=${pki}ca.crt`,
          `--cluster-signing-cert-file=${pki}ca-signing.crt`,
        )
        .replace(
          `--cluster-signing-key-file=${pki}ca.key`,
          `--cluster-signing-key-file=${pki}ca-signing.key`,
        )
        .replace(`--root-ca-file=${pki}ca.crt`, `--root-ca-file=${pki}ca-bundle.crt`),
    );
    assert.deepEqual(changedFiles(await plan(node, 'trust')), []);
  });

  it('switch issues every certificate by the new CA, and admin.conf last', async (context) => {
    const node = await created(context);
    await walk(node, 'trust');
    assert.deepEqual(namesOf(changedFiles(await plan(node, 'switch'))), [
      'apiserver-kubelet-client: apiserver-kubelet-client.crt',
      'apiserver-kubelet-client: apiserver-kubelet-client.key',
      'apiserver: apiserver.crt',
      'apiserver: apiserver.key',
      'signing files: ca-previous.crt',
      'signing files: ca-previous.key',
      'signing files: ca-signing.crt',
      'signing files: ca-signing.key',
      'signing files: ca.key',
      'signing files: ca.crt',
      `${manager}: controller-manager.conf`,
      'kube-scheduler: scheduler.conf',
      'super-admin.conf: super-admin.conf',
      'admin.conf: admin.conf',
    ]);
    const previous = await textIn(node, 'ca.key');
    await walk(node, 'switch');
    const nextCa = await textIn(node, 'ca-next.crt');
    assert.equal(await textIn(node, 'ca.crt'), nextCa + (await textIn(node, 'ca-previous.crt')));
    assert.equal(await textIn(node, 'ca-previous.key'), previous);
    for (const name of ['ca-signing.key', 'ca-previous.key', 'ca.key', 'apiserver.key']) {
      const { mode } = await stat(join(node.certificates, name));
      assert.equal(mode & 0o777, 0o600, name);
    }
    assert.equal(await textIn(node, 'ca.key'), await textIn(node, 'ca-next.key'));
    assert.ok((await textIn(node, 'apiserver.crt')).endsWith(await textIn(node, 'ca-bridge.crt')));
    // A client that trusts only the old CA needs the bridge, and one that trusts only the new CA does not.
    const [served, old] = [
      join(node.certificates, 'apiserver.crt'),
      join(node.certificates, 'ca-previous.crt'),
    ];
    openssl(['verify', '-x509_strict', '-CAfile', old, '-untrusted', served, served]);
    openssl(['verify', '-CAfile', join(node.certificates, 'ca-next.crt'), served]);
    assert.deepEqual(changedFiles(await plan(node, 'switch')), []);
  });

  it('finish leaves the files and flags of kubeadm, and only the new CA', async (context) => {
    const node = await created(context);
    const manifest = await readFile(manifestIn(node, manager), 'utf8');
    await walk(node, 'trust', 'switch');
    const [nextCa, nextKey] = [
      await textIn(node, 'ca-next.crt'),
      await textIn(node, 'ca-next.key'),
    ];
    const { tasks, lastTasks } = await plan(node, 'finish');
    assert.equal(tasks[0]?.name, 'trusted CAs');
    assert.deepEqual(
      lastTasks.flatMap(({ files }) => files.map(({ path }) => path.split('/').at(-1))),
      [
        'ca-signing.key',
        'ca-signing.crt',
        'ca-bundle.crt',
        'ca-bridge.crt',
        'ca-next.key',
        'ca-next.crt',
        'ca-previous.key',
        'ca-previous.crt',
      ],
    );
    await walk(node, 'finish');
    assert.equal(await textIn(node, 'ca.crt'), nextCa);
    assert.equal(await textIn(node, 'ca.key'), nextKey);
    assert.equal(withoutAnnotation(await readFile(manifestIn(node, manager), 'utf8')), manifest);
    assert.equal((await textIn(node, 'apiserver.crt')).split('BEGIN CERTIFICATE').length, 2);
    await assert.rejects(plan(node, 'finish'), /no rollover/);
  });

  it('finish keeps the old CA for absent nodes in kube-apiserver alone', async (context) => {
    const node = await created(context);
    const manifest = await readFile(manifestIn(node, 'kube-apiserver'), 'utf8');
    await walk(node, 'trust', 'switch');
    const [old, nextCa] = [
      await textIn(node, 'ca-previous.crt'),
      await textIn(node, 'ca-next.crt'),
    ];
    const served = await textIn(node, 'apiserver.crt');
    const planned = await planKeeping(node);
    assert.deepEqual(namesOf(changedFiles(planned)).slice(0, 2), [
      'kube-apiserver: ca-clients.crt',
      'kube-apiserver: kube-apiserver.yaml',
    ]);
    await writeStep(planned);
    assert.equal(await textIn(node, 'ca-clients.crt'), nextCa + old);
    assert.equal(await textIn(node, 'ca.crt'), nextCa);
    assert.equal(await textIn(node, 'apiserver.crt'), served);
    const [pki, flag] = [node.certificates, '--client-ca-file='];
    assert.equal(
      withoutAnnotation(await readFile(manifestIn(node, 'kube-apiserver'), 'utf8')),
      manifest.replace(`${flag}${pki}/ca.crt`, `${flag}${pki}/ca-clients.crt`),
    );
    const left = (await readdir(pki)).filter((name) => name.startsWith('ca-'));
    assert.deepEqual(left, ['ca-bridge.crt', 'ca-clients.crt']);
    assert.deepEqual(changedFiles(await planKeeping(node)), []);
    const leafAlone = served.slice(0, served.indexOf('-----BEGIN', 1));
    await writeFile(join(node.certificates, 'apiserver.crt'), leafAlone);
    assert.deepEqual(changedFiles(await planKeeping(node)), [
      'apiserver: apiserver.crt (the certificate, then the bridge)',
    ]);
    for (const step of ['trust', 'switch'] as const) {
      const { obstacles } = await plan(node, step);
      assert.match(obstacles[0]?.message ?? '', /^the step finish has begun on this node/);
    }

    await walk(node, 'finish');
    assert.equal(
      withoutAnnotation(await readFile(manifestIn(node, 'kube-apiserver'), 'utf8')),
      manifest,
    );
    assert.equal((await textIn(node, 'apiserver.crt')).split('BEGIN CERTIFICATE').length, 2);
    assert.deepEqual(
      (await readdir(pki)).filter((name) => name.startsWith('ca-')),
      [],
    );
  });

  it('abort undoes the flag of an interrupted finish that keeps absent nodes', async (context) => {
    const node = await created(context);
    const manifest = await readFile(manifestIn(node, 'kube-apiserver'), 'utf8');
    await walk(node, 'trust', 'switch');
    const planned = await planKeeping(node);
    await writeStep({ ...planned, tasks: planned.tasks.slice(0, 1), lastTasks: [] });
    await walk(node, 'abort', 'abort');
    assert.equal(
      withoutAnnotation(await readFile(manifestIn(node, 'kube-apiserver'), 'utf8')),
      manifest,
    );
    const left = (await readdir(node.certificates)).filter((name) => name.startsWith('ca-'));
    assert.deepEqual(left, []);
  });

  it('finish keeps no absent nodes without a bridge, or with other CAs of clients', async (context) => {
    const node = await created(context);
    await walk(node, 'trust', 'switch');
    await rm(join(node.certificates, 'ca-bridge.crt'));
    const path = manifestIn(node, 'kube-apiserver');
    const text = await readFile(path, 'utf8');
    await writeFile(path, text.replace('--client-ca-file=', '--client-ca-file=/etc/other'));
    const { obstacles, tasks } = await planKeeping(node);
    assert.deepEqual(tasks, []);
    const messages = obstacles.map(({ message }) => message).join('\n');
    assert.match(messages, /^this node has no bridge/m);
    assert.match(messages, /^--client-ca-file of kube-apiserver names \/etc\/other/m);
  });

  it('finish continues after the files of the new CA are gone', async (context) => {
    const node = await created(context);
    await walk(node, 'trust', 'switch');
    const previous = await textIn(node, 'ca-previous.crt');
    await walk(node, 'finish');
    await writeFile(join(node.certificates, 'ca-previous.crt'), previous);
    assert.deepEqual(namesOf(changedFiles(await plan(node, 'finish'))), [
      'files of the rollover: ca-previous.crt',
    ]);
  });

  it('takes a switch that stopped after its first task for no repair', async (context) => {
    const node = await created(context);
    await walk(node, 'trust');
    const [first] = (await plan(node, 'switch')).tasks;
    assert.ok(first);
    await write(first);
    const begun = await plan(node, 'switch');
    assert.deepEqual([begun.isRepair, begun.obstacles, begun.harm], [false, [], []]);
    await copyFile(join(node.certificates, 'ca-signing.crt'), join(node.certificates, 'ca.crt'));
    const { harm, obstacles } = await plan(node, 'switch');
    assert.match(harm[0]?.message ?? '', /ca.crt lacks the new CA, so clients/);
    for (const { remedy } of [...harm, ...obstacles])
      assert.match(remedy ?? '', /apply trust --ca kubernetes$/);
    const repair = await plan(node, 'trust');
    assert.deepEqual([repair.isRepair, repair.obstacles], [true, []]);
    await walk(node, 'trust', 'switch');
    assert.equal((await plan(node, 'switch')).isRepair, true);
    assert.deepEqual(changedFiles(await plan(node, 'switch')), []);
  });

  for (const { name, after, change, changed, harm } of repairs) {
    it(`repairs ${name}`, async (context) => {
      const node = await created(context);
      await walk(node, ...after);
      await change(node);
      const step = after.at(-1) ?? 'trust';
      const planned = await plan(node, step);
      assert.deepEqual(namesOf(changedFiles(planned)), changed);
      assert.equal(planned.isRepair, true);
      const [first] = planned.harm;
      if (harm === undefined) assert.equal(first, undefined);
      else assert.match(first?.message ?? '', harm);
      if (harm !== undefined)
        assert.match(first?.remedy ?? '', new RegExp(`apply ${step} --ca kubernetes$`));
      await walk(node, step);
      assert.deepEqual(changedFiles(await plan(node, step)), []);
      assert.deepEqual((await plan(node, step)).harm, []);
    });
  }

  it('keeps the CA of a load balancer in a kubeconfig', async (context) => {
    const node = await created(context);
    const other = authorityOf({ subject: '/CN=load-balancer' });
    const path = join(node.kubernetes, 'admin.conf');
    const both = Buffer.concat([node.authorities.ca.certificate, other.certificate]);
    await writeFile(path, kubeconfigOf(both, leaf(node)));
    await walk(node, 'trust', 'switch', 'finish');
    const data = /certificate-authority-data: (\S+)/.exec(await readFile(path, 'utf8'))?.[1] ?? '';
    const embedded = Buffer.from(data, 'base64').toString();
    assert.equal(embedded, (await textIn(node, 'ca.crt')) + other.certificate.toString());
  });

  it('gives both CAs to another file of a trust flag, and no other CA file', async (context) => {
    const node = await created(context);
    const path = manifestIn(node, 'kube-apiserver');
    const clients = join(node.certificates, 'clients.crt');
    await copyFile(join(node.certificates, 'ca.crt'), clients);
    const text = (await readFile(path, 'utf8'))
      .replace('pki/ca.crt', 'pki/clients.crt')
      .replace(
        '- --secure-port',
        `- --kubelet-certificate-authority=${node.certificates}/front-proxy-ca.crt\n        - --secure-port`,
      );
    await writeFile(path, text);
    const files = namesOf(changedFiles(await plan(node, 'trust')));
    assert.deepEqual(
      files.filter((file) => file.startsWith('trusted CAs')),
      ['trusted CAs: ca.crt', 'trusted CAs: clients.crt'],
    );
    await walk(node, 'trust');
    assert.equal(await textIn(node, 'clients.crt'), await textIn(node, 'ca.crt'));
    await walk(node, 'switch', 'finish');
    assert.equal(await textIn(node, 'clients.crt'), await textIn(node, 'ca.crt'));
  });

  const refused = [
    ['switch', [], /^the step trust is not complete on this node$/, /apply trust --ca kubernetes$/],
    ['finish', ['trust'], /^the step switch is not complete on this node$/, /apply switch --ca/],
    ['trust', ['trust', 'switch'], /^the step switch has begun on this node/, /apply switch --ca/],
  ] as const;
  for (const [step, after, message, remedy] of refused) {
    it(`refuses ${step} after ${after.at(-1) ?? 'create'}`, async (context) => {
      const node = await created(context);
      await walk(node, ...after);
      const { obstacles, tasks, lastTasks } = await plan(node, step);
      assert.deepEqual([tasks, lastTasks, obstacles.length], [[], [], 1]);
      assert.match(obstacles[0]?.message ?? '', message);
      assert.match(obstacles[0]?.remedy ?? '', remedy);
    });
  }

  it('names the files of a step that is not complete', async (context) => {
    const node = await created(context);
    await walk(node, 'trust');
    await copyFile(join(node.certificates, 'ca-signing.crt'), join(node.certificates, 'ca.crt'));
    const { obstacles } = await plan(node, 'switch');
    assert.deepEqual(obstacles[0]?.objects, [
      `${node.certificates}/ca.crt: the old CA, then the new CA`,
    ]);
  });

  it('refuses switch without the bridge, unless the old CA can issue none', async (context) => {
    const node = await created(context);
    await walk(node, 'trust');
    await rm(join(node.certificates, 'ca-bridge.crt'));
    const { obstacles } = await plan(node, 'switch');
    assert.match(obstacles[0]?.message ?? '', /ca-bridge.crt does not exist$/);
    const found = await contextOf(node);
    const clock = new FakeClock(found.node.old.certificate.facts.notAfter);
    assert.deepEqual((await planNodeStep('switch', { ...found, clock })).obstacles, []);
    const last = authorityOf({
      extensions: ['basicConstraints=critical,CA:TRUE,pathlen:0', ...caExtensions.slice(1)],
    });
    const other = await created(context);
    await writePair(join(other.certificates, 'ca.crt'), last);
    await rm(join(other.certificates, 'ca-bridge.crt'));
    await walk(other, 'trust', 'switch');
    assert.equal((await textIn(other, 'apiserver.crt')).split('BEGIN CERTIFICATE').length, 2);
  });

  it('refuses a node without the key of a CA', async (context) => {
    const node = await created(context);
    await rm(join(node.certificates, 'ca.key'));
    await assert.rejects(plan(node, 'trust'), { code: 'CA_EXTERNAL' });
    const other = await created(context);
    await walk(other, 'trust');
    await rm(join(other.certificates, 'ca-next.key'));
    await assert.rejects(plan(other, 'switch'), { code: 'CA_EXTERNAL', message: /the new CA$/ });
  });

  it('refuses keys of CAs that other users can read', async (context) => {
    const node = await created(context);
    const paths = ['ca.key', 'ca-next.key'].map((name) => join(node.certificates, name));
    for (const path of paths) await chmod(path, 0o644);
    const { obstacles, tasks } = await plan(node, 'trust');
    assert.deepEqual(tasks, []);
    assert.deepEqual(obstacles, [
      {
        state: 'waiting',
        message: 'other users can read the key of a CA',
        remedy: `Run: chmod 600 ${paths.join(' ')}`,
        objects: paths.map((path) => `${path} (mode 0644)`),
      },
    ]);
  });

  it('renews the certificate that a kubeconfig names, and writes its CAs', async (context) => {
    const node = await created(context);
    const path = join(node.kubernetes, 'scheduler.conf');
    await writePair(join(node.certificates, 'scheduler.crt'), leaf(node));
    const text = (await readFile(path, 'utf8'))
      .replace(
        /client-certificate-data: .*/,
        `client-certificate: ${node.certificates}/scheduler.crt`,
      )
      .replace(/client-key-data: .*/, `client-key: ${node.certificates}/scheduler.key`);
    await writeFile(path, text);
    await walk(node, 'trust', 'switch');
    const files = ['-CAfile', join(node.certificates, 'ca-next.crt')];
    openssl(['verify', ...files, join(node.certificates, 'scheduler.crt')]);
    await writeFile(path, text);
    assert.deepEqual(namesOf(changedFiles(await plan(node, 'switch'))), [
      'kube-scheduler: scheduler.conf',
    ]);
  });

  it('refuses ca-next.crt without a certificate', async (context) => {
    const node = await created(context);
    await writeFile(join(node.certificates, 'ca-next.crt'), '');
    await assert.rejects(plan(node, 'trust'), { code: 'PAIR_MALFORMED', message: /ca-next.crt/ });
  });

  it('refuses a third CA in ca.crt', async (context) => {
    const node = await created(context);
    const path = join(node.certificates, 'ca.crt');
    const other = authorityOf({ subject: '/CN=other' }).certificate.toString();
    await writeFile(path, (await readFile(path, 'utf8')) + other);
    await assert.rejects(plan(node, 'trust'), {
      code: 'CERT_UNTRUSTED',
      message: /ca.crt has the CA CN=other, which is neither the old nor the new CA$/,
    });
  });

  it('refuses flags that it cannot change, and files that are not in the container', async (context) => {
    const node = await created(context);
    const path = manifestIn(node, manager);
    const text = await readFile(path, 'utf8');
    await writeFile(path, text.replace('--root-ca-file=', '--root-ca-file\n        - '));
    await assert.rejects(plan(node, 'trust'), {
      code: 'CONFIG_INVALID',
      message: /cannot be changed$/,
    });
    await writeFile(path, text.replaceAll(`${node.certificates}\n`, `${node.certificates}/ca\n`));
    await assert.rejects(plan(node, 'trust'), { code: 'CONFIG_INVALID', message: /no volume in/ });
    await rm(path);
    await assert.rejects(plan(node, 'trust'), { message: /^kube-controller-manager does not run/ });
  });
});

function namesOf(files: readonly string[]): string[] {
  return files.map((file) => file.replace(/ \(.*$/s, ''));
}
