import assert from 'node:assert/strict';
import { X509Certificate, createPrivateKey } from 'node:crypto';
import {
  chmod,
  lstat,
  mkdir,
  readFile,
  readdir,
  rename,
  rm,
  stat,
  symlink,
  watch,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { parse } from 'yaml';
import { AgentError } from '../../../src/core/errors.ts';
import { day, minute } from '../../../src/core/instant.ts';
import { extensionIds, extensionOf } from '../../../src/core/certificate-parts.ts';
import { readCertificates } from '../../../src/pki/renewal/certificate-chain.ts';
import type { ChainCertificate } from '../../../src/pki/renewal/certificate-chain.ts';
import { authorityFile, fileOf, keyFileOf, kubeadmCertificates } from '../../../src/pki/layout.ts';
import type { RenewalOptions } from '../../../src/pki/renewal/renewal.ts';
import {
  previewRenewal,
  previewRollback,
  renew,
  rollBackTo,
} from '../../../src/pki/renewal/renewal.ts';
import type { RenewalResult } from '../../../src/pki/renewal/renewal-run.ts';
import { lockDirectory } from '../../../src/store/directory-lock.ts';
import { modificationTimes, snapshot } from '../../adopt/snapshot.ts';
import { openssl } from '../../core/openssl.ts';
import type { KubeadmTree } from './renewal-tree.ts';
import {
  copyOf,
  interruptStep,
  kubeconfigOf,
  optionsFor,
  requestFor,
  writePair,
  sharedTree,
} from './renewal-tree.ts';
import { authorityOf, issueWithOpenssl, leafExtensions } from './openssl-authority.ts';

const model = sharedTree();

const runs = '/.nodecertd';
const files = (tree: KubeadmTree): ReturnType<typeof snapshot> => snapshot(tree.kubernetes, runs);

async function run(
  tree: KubeadmTree,
  options: Partial<RenewalOptions> = {},
): Promise<RenewalResult> {
  const describePlan = { describe: () => ({ plan: 'x' }), endpoints: [] };
  return (await renew(requestFor(tree), { ...optionsFor(options), ...describePlan })).result;
}

async function rollBack(tree: KubeadmTree, force = false): Promise<void> {
  await rollBackTo(requestFor(tree), { time: undefined, force });
}

interface Credential {
  readonly certificates: readonly ChainCertificate[];
  readonly key: string;
}

async function credential(tree: KubeadmTree, name: string): Promise<Credential> {
  const entry = kubeadmCertificates.find((known) => known.name === name);
  assert.ok(entry !== undefined);
  const file = fileOf(entry, tree);
  if (entry.kind === 'pair') {
    const key = await readFile(keyFileOf(file), 'utf8');
    return { certificates: await readCertificates(await readFile(file)), key };
  }
  const { users } = parse(await readFile(file, 'utf8')) as {
    users: { user: Record<string, string> }[];
  };
  const decoded = (key: string): Buffer => Buffer.from(users[0]?.user[key] ?? '', 'base64');
  return {
    certificates: await readCertificates(decoded('client-certificate-data')),
    key: decoded('client-key-data').toString(),
  };
}

async function leafOf(tree: KubeadmTree, name: string): Promise<ChainCertificate> {
  const [leaf] = (await credential(tree, name)).certificates;
  assert.ok(leaf !== undefined);
  return leaf;
}

async function requireMatch(tree: KubeadmTree): Promise<void> {
  for (const { name } of kubeadmCertificates) {
    const { certificates, key } = await credential(tree, name);
    assert.ok(certificates[0]?.openssl.checkPrivateKey(createPrivateKey(key)), name);
  }
}

describe('renew()', () => {
  it('renews every certificate, and OpenSSL accepts all of them', async (context) => {
    const tree = await copyOf(context, model);
    const { renewed, failed } = await run(tree);
    assert.equal(failed, undefined);
    assert.equal(renewed.length, kubeadmCertificates.length);
    for (const { name, authority } of kubeadmCertificates) {
      const [before, now] = [await leafOf(model, name), await leafOf(tree, name)];
      const pem = Buffer.from(now.openssl.toString());
      const ca = authorityFile(authority, tree);
      assert.equal(openssl(['verify', '-x509_strict', '-CAfile', ca], pem), 'stdin: OK\n');
      assert.deepEqual(now.parts.subject, before.parts.subject);
      for (const oid of [
        extensionIds.subjectAltName,
        extensionIds.keyUsage,
        extensionIds.extendedKeyUsage,
      ]) {
        const [a, b] = [extensionOf(before.parts, oid), extensionOf(now.parts, oid)];
        assert.deepEqual(a?.encoded, b?.encoded, `${name} ${oid}`);
      }
      assert.notEqual(now.facts.serial, before.facts.serial);
      assert.notDeepEqual(now.parts.publicKey, before.parts.publicKey);
      const lifetime = now.facts.notAfter - now.facts.notBefore;
      const previous = before.facts.notAfter - before.facts.notBefore;
      // A CA that is younger than five minutes cuts the beginning.
      assert.ok(previous - 5 * minute <= lifetime && lifetime <= previous, name);
      assert.ok(now.facts.notBefore <= Date.now() && Date.now() < now.facts.notAfter);
    }
    await requireMatch(tree);
  });

  it('keeps the modes of all files, and the PEM label of the keys', async (context) => {
    const tree = await copyOf(context, model);
    const key = join(tree.certificates, 'apiserver.key');
    await chmod(key, 0o640);
    await run(tree);
    assert.equal((await stat(key)).mode & 0o7777, 0o640);
    assert.equal((await stat(join(tree.certificates, 'apiserver.crt'))).mode & 0o7777, 0o644);
    assert.equal((await stat(join(tree.kubernetes, 'admin.conf'))).mode & 0o7777, 0o600);
    assert.match(await readFile(key, 'utf8'), /^-----BEGIN EC PRIVATE KEY-----\n/);
  });

  it('leaves only the folder of the run, which only root can read', async (context) => {
    const tree = await copyOf(context, model);
    const listed = async (): Promise<string[]> =>
      (await readdir(tree.kubernetes, { recursive: true }))
        .filter((name) => !name.startsWith('.nodecertd'))
        .sort();
    const before = await listed();
    const { folder = '' } = await run(tree, { selection: ['apiserver'] });
    assert.deepEqual(await listed(), before);
    assert.equal((await stat(folder)).mode & 0o7777, 0o700);
    assert.deepEqual((await readdir(folder)).sort(), ['files', 'manifest.json', 'plan.json']);
    const copy = join(folder, 'files', tree.certificates, 'apiserver.key');
    const original = join(model.certificates, 'apiserver.key');
    assert.equal(await readFile(copy, 'utf8'), await readFile(original, 'utf8'));
    assert.equal((await stat(copy)).mode & 0o7777, 0o600);
  });

  it('renews only the named certificate', async (context) => {
    const tree = await copyOf(context, model);
    const before = await files(tree);
    await run(tree, { selection: ['front-proxy-client'] });
    const changed = [...(await files(tree))].filter(([path, now]) => before.get(path) !== now);
    assert.deepEqual(
      changed.map(([path]) => path),
      ['/pki/front-proxy-client.crt', '/pki/front-proxy-client.key'],
    );
  });

  for (const [what, change] of [
    ['a renewal', (tree: KubeadmTree) => run(tree, { selection: ['apiserver'] })],
    ['a rollback', (tree: KubeadmTree) => rollBack(tree)],
  ] as const) {
    it(`renames the certificate before the key in ${what}`, async (context) => {
      const tree = await copyOf(context, model);
      await run(tree, { selection: ['apiserver'] });
      const events = watch(tree.certificates);
      const pair = ['apiserver.crt', 'apiserver.key'];
      const renamed: string[] = [];
      const changing = Promise.resolve(tree).then<unknown>(change);
      for await (const { eventType, filename } of events) {
        if (eventType !== 'rename' || filename === null || !pair.includes(filename)) continue;
        if (renamed.push(filename) === pair.length) break;
      }
      await changing;
      assert.deepEqual(renamed, pair);
    });
  }

  it('changes two lines of a kubeconfig', async (context) => {
    const tree = await copyOf(context, model);
    const file = join(tree.kubernetes, 'admin.conf');
    await writeFile(file, `# mine\n${await readFile(file, 'utf8')}`);
    const before = (await readFile(file, 'utf8')).split('\n');
    await run(tree, { selection: ['admin.conf'] });
    const lines = (await readFile(file, 'utf8')).split('\n');
    const changed = lines.filter((line, index) => line !== before[index]);
    assert.deepEqual(
      changed.map((line) => line.trim().split(' ')[0]),
      ['client-certificate-data:', 'client-key-data:'],
    );
  });

  it('embeds the whole CA file, and keeps the CAs that only the kubeconfig has', async (context) => {
    const tree = await copyOf(context, model);
    const [next, other] = [authorityOf(), authorityOf({ subject: '/CN=balancer' })];
    const { ca } = tree.authorities;
    const bundle = Buffer.concat([next.certificate, ca.certificate]);
    await writeFile(join(tree.certificates, 'ca.crt'), bundle);
    const leaf = issueWithOpenssl({ subject: '/CN=a', extensions: leafExtensions, signer: ca });
    const trusted = Buffer.concat([ca.certificate, other.certificate]);
    await writeFile(join(tree.kubernetes, 'admin.conf'), kubeconfigOf(trusted, leaf));
    await run(tree, { selection: ['admin.conf'] });
    const { clusters } = parse(await readFile(join(tree.kubernetes, 'admin.conf'), 'utf8')) as {
      clusters: { cluster: Record<string, string> }[];
    };
    const data = clusters[0]?.cluster['certificate-authority-data'] ?? '';
    const expected = Buffer.concat([bundle, other.certificate]);
    assert.equal(Buffer.from(data, 'base64').toString(), expected.toString());
  });

  it('renews the files that a kubeconfig names', async (context) => {
    const tree = await copyOf(context, model);
    const file = join(tree.kubernetes, 'scheduler.conf');
    const { ca } = tree.authorities;
    const leaf = issueWithOpenssl({ subject: '/CN=s', extensions: leafExtensions, signer: ca });
    await writePair(join(tree.certificates, 'scheduler.crt'), leaf);
    const text = kubeconfigOf(ca.certificate, leaf)
      .replace(/client-certificate-data: .*/, 'client-certificate: pki/scheduler.crt')
      .replace(/client-key-data: .*/, 'client-key: pki/scheduler.key');
    await writeFile(file, text);
    const { renewed } = await run(tree, { selection: ['scheduler.conf'] });
    assert.equal(await readFile(file, 'utf8'), text);
    const now = new X509Certificate(await readFile(join(tree.certificates, 'scheduler.crt')));
    assert.equal(now.serialNumber.toLowerCase(), renewed[0]?.certificate.facts.serial);
    const key = createPrivateKey(await readFile(join(tree.certificates, 'scheduler.key')));
    assert.ok(now.checkPrivateKey(key));
  });

  it('renews the certificate and the key of one file with one rename', async (context) => {
    const tree = await copyOf(context, model);
    const { ca } = tree.authorities;
    const leaf = issueWithOpenssl({ subject: '/CN=s', extensions: leafExtensions, signer: ca });
    const file = join(tree.certificates, 'scheduler.pem');
    await writeFile(file, Buffer.concat([leaf.key, leaf.certificate]), { mode: 0o640 });
    const text = kubeconfigOf(ca.certificate, leaf)
      .replace(/client-certificate-data: .*/, 'client-certificate: pki/scheduler.pem')
      .replace(/client-key-data: .*/, 'client-key: pki/../pki/scheduler.pem');
    await writeFile(join(tree.kubernetes, 'scheduler.conf'), text);
    const before = await files(tree);
    const { renewed } = await run(tree, { selection: ['scheduler.conf'] });
    const pem = await readFile(file);
    const now = new X509Certificate(pem);
    assert.equal(now.serialNumber.toLowerCase(), renewed[0]?.certificate.facts.serial);
    assert.ok(now.checkPrivateKey(createPrivateKey(pem)));
    assert.equal((await stat(file)).mode & 0o777, 0o640);
    await rollBackTo(requestFor(tree), { time: undefined, force: false });
    assert.deepEqual(await files(tree), before);
  });

  it('keeps an intermediate CA behind the leaf, and drops other certificates', async (context) => {
    const tree = await copyOf(context, model);
    const { ca } = tree.authorities;
    const intermediate = authorityOf({ subject: '/CN=intermediate', signer: ca });
    const leaf = issueWithOpenssl({
      subject: '/CN=kube-apiserver',
      extensions: leafExtensions,
      signer: intermediate,
    });
    const file = join(tree.certificates, 'apiserver.crt');
    await writePair(join(tree.certificates, 'ca.crt'), intermediate);
    const chain = [leaf.certificate, intermediate.certificate, authorityOf().certificate];
    await writeFile(file, Buffer.concat(chain));
    await run(tree, { selection: ['apiserver'] });
    const [now, kept, ...more] = await readCertificates(await readFile(file));
    assert.ok(now !== undefined && kept !== undefined);
    assert.equal(kept.openssl.toString().trim(), intermediate.certificate.toString().trim());
    assert.ok(now.openssl.verify(kept.openssl.publicKey));
    assert.deepEqual(more, []);
  });

  it('writes through links', async (context) => {
    const tree = await copyOf(context, model);
    const elsewhere = join(tree.kubernetes, '../elsewhere');
    await rename(tree.certificates, elsewhere);
    await symlink(elsewhere, tree.certificates);
    await mkdir(join(elsewhere, 'real'));
    await rename(join(elsewhere, 'apiserver.key'), join(elsewhere, 'real/a.key'));
    await symlink('real/a.key', join(elsewhere, 'apiserver.key'));
    await run(tree, { selection: ['apiserver'] });
    assert.ok((await lstat(tree.certificates)).isSymbolicLink());
    assert.ok((await lstat(join(elsewhere, 'apiserver.key'))).isSymbolicLink());
    await requireMatch(tree);
  });

  it('ends a certificate with its CA, even if a longer lifetime is set', async (context) => {
    const tree = await copyOf(context, model);
    const selection = ['apiserver'];
    await run(tree, { selection, lifetime: { kind: 'duration', ms: 20 * 365 * day } });
    const { ca } = tree.authorities;
    const end = Date.parse(new X509Certificate(ca.certificate).validTo);
    assert.equal((await leafOf(tree, 'apiserver')).facts.notAfter, end);
    const { certificates } = await previewRenewal(
      requestFor(tree),
      optionsFor({ selection, lifetime: { kind: 'authority' } }),
    );
    const [planned] = certificates;
    assert.ok(planned?.kind === 'renew');
    assert.equal(planned.item.validity.wanted, undefined);
    assert.equal(planned.item.validity.notAfter, end);
  });

  it('creates another kind of key on request', async (context) => {
    const tree = await copyOf(context, model);
    await run(tree, { selection: ['apiserver'], key: 'rsa-2048' });
    const { key } = await credential(tree, 'apiserver');
    assert.match(key, /^-----BEGIN RSA PRIVATE KEY-----\n/);
    await requireMatch(tree);
  });

  it('renews the rest when one certificate is of another CA, and says why', async (context) => {
    const tree = await copyOf(context, model);
    const stranger = authorityOf({ subject: '/CN=stranger' });
    const leaf = issueWithOpenssl({
      subject: '/CN=x',
      extensions: leafExtensions,
      signer: stranger,
    });
    await writePair(join(tree.certificates, 'apiserver.crt'), leaf);
    const { certificates } = await previewRenewal(requestFor(tree), optionsFor());
    const refused = certificates.filter(({ kind }) => kind === 'refused');
    assert.equal(refused.length, 1);
    assert.ok(refused[0]?.kind === 'refused');
    assert.match(refused[0].failure.message, /was signed by the CA CN=stranger, not by a CA in /);
    assert.equal((await run(tree)).renewed.length, kubeadmCertificates.length - 1);
  });

  it('refuses a CA with a kind of key that it cannot use', async (context) => {
    const tree = await copyOf(context, model);
    const signer = authorityOf({ key: 'RSA-PSS' });
    const leaf = issueWithOpenssl({ subject: '/CN=x', extensions: leafExtensions, signer });
    await writeFile(join(tree.certificates, 'ca.crt'), signer.certificate);
    await writeFile(join(tree.certificates, 'ca.key'), signer.key);
    await writePair(join(tree.certificates, 'apiserver.crt'), leaf);
    const options = optionsFor({ selection: ['apiserver'] });
    const [planned] = (await previewRenewal(requestFor(tree), options)).certificates;
    assert.ok(planned?.kind === 'refused');
    assert.match(planned.failure.message, /\/ca.key: keys of the kind rsa-pss are not supported$/);
  });

  it('names the file of a CA that cannot be parsed, and its remedy', async (context) => {
    const tree = await copyOf(context, model);
    const file = join(tree.certificates, 'ca.crt');
    await writeFile(file, '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n');
    const options = optionsFor({ selection: ['apiserver'] });
    const [planned] = (await previewRenewal(requestFor(tree), options)).certificates;
    assert.ok(planned?.kind === 'refused');
    assert.equal(planned.failure.message, `${file}: the certificate cannot be parsed`);
    assert.equal(planned.failure.remedy, `Restore ${file} from a backup`);
  });

  it('leaves certificates of an external CA, and missing ones', async (context) => {
    const tree = await copyOf(context, model);
    await rm(join(tree.certificates, 'front-proxy-ca.key'));
    await rm(join(tree.certificates, 'etcd'), { recursive: true });
    await rm(join(tree.certificates, 'apiserver-etcd-client.crt'));
    const { certificates } = await previewRenewal(requestFor(tree), optionsFor());
    const kinds = certificates.map((planned) => [
      planned.kind,
      'item' in planned ? planned.item.entry.name : planned.entry.name,
    ]);
    assert.deepEqual(
      kinds.filter(([kind]) => kind !== 'renew'),
      [
        ['missing', 'etcd-server'],
        ['missing', 'etcd-peer'],
        ['missing', 'etcd-healthcheck-client'],
        ['missing', 'apiserver-etcd-client'],
        ['external', 'front-proxy-client'],
      ],
    );
  });

  it('refuses a name that kubeadm does not use', async () => {
    const options = optionsFor({ selection: ['api'] });
    await assert.rejects(previewRenewal(requestFor(model), options), { code: 'USAGE' });
  });

  it('renews only what is past its deadline with the selection due', async (context) => {
    const tree = await copyOf(context, model);
    const { ca } = tree.authorities;
    const old = issueWithOpenssl({
      subject: '/CN=a',
      extensions: leafExtensions,
      signer: ca,
      days: 1,
    });
    await writePair(join(tree.certificates, 'apiserver.crt'), old);
    const clock = { ...requestFor(tree).clock, now: () => Date.now() + day - minute };
    const { certificates } = await previewRenewal(
      { ...requestFor(tree), clock },
      optionsFor({ selection: 'due' }),
    );
    const due = certificates.filter(({ kind }) => kind === 'renew');
    assert.deepEqual(
      due.map((planned) => 'item' in planned && planned.item.entry.name),
      ['apiserver'],
    );
  });

  it('stops before the next certificate when its lock is lost', async (context) => {
    const tree = await copyOf(context, model);
    const before = await credential(tree, 'apiserver');
    const begun: string[] = [];
    const { result } = await renew(requestFor(tree), {
      ...optionsFor({ selection: ['etcd-server', 'apiserver'] }),
      describe: () => ({}),
      endpoints: [],
      onItem: ({ entry }) => begun.push(entry.name),
      requireLock: () => {
        if (begun.length > 0) throw new AgentError('LEASE_LOST', 'the Lease was lost');
      },
    });
    assert.deepEqual(
      result.renewed.map(({ item }) => item.entry.name),
      ['etcd-server'],
    );
    assert.equal(result.failed?.failure.code, 'LEASE_LOST');
    assert.deepEqual(begun, ['etcd-server']);
    assert.deepEqual(await credential(tree, 'apiserver'), before);
  });

  it('names the process that holds the lock', async (context) => {
    const tree = await copyOf(context, model);
    await mkdir(join(tree.kubernetes, runs));
    await using _ = await lockDirectory(join(tree.kubernetes, runs));
    await assert.rejects(run(tree), {
      code: 'STORE_LOCKED',
      message: new RegExp(`^another nodecertd command \\(pid ${process.pid}\\) is changing`),
    });
  });

  it('changes nothing while a step of a CA rollover is interrupted', async (context) => {
    const tree = await copyOf(context, model);
    await interruptStep(tree);
    const before = await files(tree);
    const refusal = {
      code: 'STORE_LOCKED',
      message: `nodecertd ca-rollover apply trust --ca kubernetes was interrupted, and changes files in ${tree.kubernetes}`,
    };
    await assert.rejects(run(tree), refusal);
    await assert.rejects(rollBack(tree), refusal);
    assert.deepEqual(await files(tree), before);
  });

  it('keeps the copies of the last three runs', async (context) => {
    const tree = await copyOf(context, model);
    for (let times = 0; times < 5; times += 1) await run(tree, { selection: ['admin.conf'] });
    const kept = (await readdir(join(tree.kubernetes, runs))).filter((name) => /^\d/.test(name));
    assert.deepEqual(kept.map((name) => name.split('-')[1]).join(), '3,4,5');
  });
});

describe('rollBackTo()', () => {
  it('restores every file of the latest run', async (context) => {
    const tree = await copyOf(context, model);
    const before = await files(tree);
    await run(tree);
    assert.notDeepEqual(await files(tree), before);
    await rollBack(tree);
    assert.deepEqual(await files(tree), before);
    const preview = await previewRollback(requestFor(tree), undefined);
    assert.equal(preview.target, undefined);
  });

  it('undoes one run after the other', async (context) => {
    const tree = await copyOf(context, model);
    const before = await files(tree);
    await run(tree, { selection: ['apiserver', 'admin.conf'] });
    const middle = await files(tree);
    await run(tree, { selection: ['apiserver'] });
    await rollBack(tree);
    assert.deepEqual(await files(tree), middle);
    await rollBack(tree);
    assert.deepEqual(await files(tree), before);
  });

  it('restores the modification times, at which the lifetimes begin', async (context) => {
    const tree = await copyOf(context, model);
    const before = await modificationTimes(tree.kubernetes, runs);
    await run(tree);
    await run(tree, { selection: ['apiserver'] });
    assert.notDeepEqual(await modificationTimes(tree.kubernetes, runs), before);
    await rollBack(tree);
    await rollBack(tree);
    assert.deepEqual(await modificationTimes(tree.kubernetes, runs), before);
  });

  it('undoes an earlier run together with the later ones', async (context) => {
    const tree = await copyOf(context, model);
    const before = await files(tree);
    const { folder = '' } = await run(tree, { selection: ['apiserver', 'admin.conf'] });
    await run(tree, { selection: ['apiserver'] });
    const [time = ''] = folder.split('/').slice(-1);
    await rollBackTo(requestFor(tree), { time, force: false });
    assert.deepEqual(await files(tree), before);
  });

  it('refuses to overwrite a later change, unless forced', async (context) => {
    const tree = await copyOf(context, model);
    const before = await files(tree);
    await run(tree, { selection: ['apiserver', 'admin.conf'] });
    await writeFile(join(tree.kubernetes, 'admin.conf'), 'mine');
    const changed = await files(tree);
    await assert.rejects(rollBack(tree), { code: 'FILE_CHANGED' });
    assert.deepEqual(await files(tree), changed);
    await rollBack(tree, true);
    assert.deepEqual(await files(tree), before);
  });

  it('refuses a time at which there was no run', async (context) => {
    const tree = await copyOf(context, model);
    await run(tree, { selection: ['admin.conf'] });
    const rollback = rollBackTo(requestFor(tree), { time: '2020', force: false });
    await assert.rejects(rollback, { code: 'USAGE' });
  });
});

describe('previewRenewal()', () => {
  it('changes nothing', async (context) => {
    const tree = await copyOf(context, model);
    const listed = async (): Promise<string[]> =>
      (await readdir(tree.kubernetes, { recursive: true })).sort();
    const [before, names] = [await files(tree), await listed()];
    const { certificates } = await previewRenewal(requestFor(tree), optionsFor());
    assert.equal(certificates.length, kubeadmCertificates.length);
    assert.deepEqual(await files(tree), before);
    assert.deepEqual(await listed(), names);
  });
});
