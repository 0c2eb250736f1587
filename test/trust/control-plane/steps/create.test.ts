import assert from 'node:assert/strict';
import { createPrivateKey } from 'node:crypto';
import { chmod, mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { describe, it } from 'node:test';
import { day } from '../../../../src/core/instant.ts';
import { hasCode } from '../../../../src/core/errors.ts';
import { readCertificates, subjectOf } from '../../../../src/pki/renewal/certificate-chain.ts';
import { describeKind, kindOf } from '../../../../src/pki/renewal/key-file.ts';
import { Tree } from '../../../../src/sys/tree.ts';
import type { NewAuthorityOptions } from '../../../../src/trust/control-plane/steps/chosen-authority.ts';
import type { CreatePlan } from '../../../../src/trust/control-plane/steps/create.ts';
import { planCreate } from '../../../../src/trust/control-plane/steps/create.ts';
import type { CaName } from '../../../../src/trust/control-plane/task.ts';
import { isBridge } from '../../../../src/trust/control-plane/new-authority.ts';
import type { OpensslPair, OpensslRequest } from '../../../pki/renewal/openssl-authority.ts';
import { authorityOf, caExtensions, parsed } from '../../../pki/renewal/openssl-authority.ts';
import { writePair } from '../../../pki/renewal/renewal-tree.ts';
import { temporaryDirectory } from '../../../store/pairs.ts';

const month = new Date().toISOString().slice(0, 7);
const [constraints, usage, identifier] = caExtensions;

/** A control-plane node with the CA of this request. */
class Node {
  readonly certificates: string;
  readonly old: OpensslPair;
  readonly ca: CaName;

  private constructor(certificates: string, old: OpensslPair, ca: CaName) {
    this.certificates = certificates;
    this.old = old;
    this.ca = ca;
  }

  static async of(
    context: TestContext,
    request: Partial<OpensslRequest> = {},
    [ca, file]: readonly [CaName, string] = ['kubernetes', 'ca.crt'],
  ): Promise<Node> {
    const node = new Node(await temporaryDirectory(context), authorityOf(request), ca);
    await mkdir(node.path('etcd'));
    await writePair(node.path(file), node.old);
    return node;
  }

  path(name: string): string {
    return join(this.certificates, name);
  }

  async plan(options: Partial<NewAuthorityOptions> = {}): Promise<CreatePlan> {
    const { certificates } = this;
    const directories = { kubernetes: certificates, certificates };
    const request = { ca: this.ca, tree: new Tree('/'), directories, now: Date.now() };
    return planCreate(request, { lifetimeMs: 3650 * day, ...options });
  }

  /** Writes the files of the plan, as a run does. */
  async apply(options: Partial<NewAuthorityOptions> = {}): Promise<CreatePlan> {
    const plan = await this.plan(options);
    assert.ok(plan.task !== undefined);
    using files = await plan.task.make();
    for (const { path, after } of files.changes) {
      assert.ok(after !== undefined);
      await writeFile(path, after.bytes);
      await chmod(path, Number.parseInt(after.state.mode, 8));
    }
    return plan;
  }

  async certificate(name: string): Promise<Awaited<ReturnType<typeof parsed>>> {
    const [first] = await readCertificates(await readFile(this.path(name)));
    assert.ok(first !== undefined);
    return first;
  }

  /** A folder with another CA. */
  async folderWith(pair: OpensslPair): Promise<string> {
    const folder = this.path('import');
    await mkdir(folder);
    await writeFile(join(folder, 'ca.crt'), pair.certificate);
    await writeFile(join(folder, 'ca.key'), pair.key);
    return folder;
  }
}

function filesOf({ task }: CreatePlan): string[] {
  return (task?.files ?? []).map(({ path }) => path.slice(path.lastIndexOf('/') + 1));
}

describe('planCreate()', () => {
  it('plans a CA like the old one, with a bridge', async (context) => {
    const node = await Node.of(context, { key: 'P-384' });
    const plan = await node.plan();
    assert.deepEqual(filesOf(plan), ['ca-next.key', 'ca-next.crt', 'ca-bridge.crt']);
    const [key, certificate] = plan.task?.files.map(({ content }) => content) ?? [];
    assert.equal(key, 'a new key (ECDSA P-384)');
    assert.match(certificate ?? '', new RegExp(`^a new CA \\(CN=kubernetes ${month}, expires 20`));
  });

  it('makes the planned files, with a key that only root can read', async (context) => {
    const node = await Node.of(context);
    await node.apply();
    const next = await node.certificate('ca-next.crt');
    assert.equal(subjectOf(next), `CN=kubernetes ${month}`);
    assert.ok(
      next.openssl.checkPrivateKey(createPrivateKey(await readFile(node.path('ca-next.key')))),
    );
    assert.equal((await stat(node.path('ca-next.key'))).mode & 0o777, 0o600);
    const bridge = await node.certificate('ca-bridge.crt');
    assert.ok(isBridge(bridge, { next, old: await node.certificate('ca.crt') }));
  });

  for (const [ca, name] of [
    ['etcd', 'etcd/ca'],
    ['front-proxy', 'front-proxy-ca'],
  ] as const) {
    it(`makes a CA beside ${name}.crt, without a bridge`, async (context) => {
      const extensions = [...caExtensions, 'subjectAltName=DNS:etcd-ca'];
      const request = { subject: '/CN=etcd-ca', extensions };
      const node = await Node.of(context, request, [ca, `${name}.crt`]);
      const plan = await node.apply();
      const [key, certificate, ...others] = plan.task?.files.map(({ path }) => path) ?? [];
      assert.deepEqual(
        [key, certificate],
        [node.path(`${name}-next.key`), node.path(`${name}-next.crt`)],
      );
      assert.deepEqual([others, plan.withoutBridge], [[], undefined]);
      const next = await node.certificate(`${name}-next.crt`);
      assert.equal(subjectOf(next), `CN=etcd-ca ${month}`);
      assert.equal(next.openssl.subjectAltName, 'DNS:etcd-ca');
      assert.deepEqual((await node.plan()).task?.files, []);
    });
  }

  it('follows the subject, key and lifetime of the administrator', async (context) => {
    const node = await Node.of(context);
    await node.apply({ commonName: 'Example CA', key: 'rsa-3072', lifetimeMs: 100 * day });
    const next = await node.certificate('ca-next.crt');
    assert.equal(subjectOf(next), 'CN=Example CA');
    assert.equal(describeKind(kindOf(next.openssl.publicKey)), 'RSA 3072');
    assert.ok(Math.abs(next.facts.notAfter - Date.now() - 100 * day) < 60_000);
  });

  it('changes nothing when it is repeated', async (context) => {
    const node = await Node.of(context);
    await node.apply();
    assert.deepEqual(filesOf(await node.plan({ commonName: 'another' })), []);
  });

  it('writes only a bridge that is missing, corrupt or of another CA', async (context) => {
    const node = await Node.of(context);
    await node.apply();
    const next = await readFile(node.path('ca-next.crt'));
    for (const content of [undefined, 'no PEM', next]) {
      if (content === undefined) await rm(node.path('ca-bridge.crt'));
      else await writeFile(node.path('ca-bridge.crt'), content);
      assert.deepEqual(filesOf(await node.apply()), ['ca-bridge.crt']);
      assert.deepEqual(filesOf(await node.plan()), []);
    }
    assert.deepEqual(await readFile(node.path('ca-next.crt')), next);
  });

  it('plans no bridge below an old CA with a path length of 0', async (context) => {
    const extensions = [`${constraints},pathlen:0`, usage, identifier];
    const node = await Node.of(context, { extensions });
    const plan = await node.plan();
    assert.deepEqual(filesOf(plan), ['ca-next.key', 'ca-next.crt']);
    assert.match(plan.withoutBridge ?? '', /path length 0/);
  });

  it('has no task once the new CA signs', async (context) => {
    const node = await Node.of(context);
    await node.apply();
    const both = ['ca-next.crt', 'ca.crt'].map((name) => readFile(node.path(name)));
    await writeFile(node.path('ca.crt'), Buffer.concat(await Promise.all(both)));
    await writeFile(node.path('ca.key'), await readFile(node.path('ca-next.key')));
    assert.equal((await node.plan()).task, undefined);
  });

  it('imports a CA with its key', async (context) => {
    const node = await Node.of(context);
    const other = authorityOf({ subject: '/O=Example/CN=imported', key: 'RSA 2048' });
    const importFrom = await node.folderWith(other);
    await node.apply({ importFrom });
    const next = await node.certificate('ca-next.crt');
    assert.deepEqual(next.der, (await parsed(other)).der);
    const key = createPrivateKey(await readFile(node.path('ca-next.key')));
    assert.ok(key.equals(createPrivateKey(other.key)));
    assert.deepEqual(filesOf(await node.plan({ importFrom })), []);
  });
});

describe('planCreate() refuses', () => {
  const ca = { subject: '/CN=imported' };
  const imports: readonly (readonly [string, () => OpensslPair, RegExp])[] = [
    ['a CA that is none', () => authorityOf({ ...ca, extensions: [] }), /is not a CA/],
    ['a weak key', () => authorityOf({ ...ca, key: 'RSA 1024' }), /an RSA key with 1024 bits/],
    ['an Ed25519 key', () => authorityOf({ ...ca, key: 'Ed25519' }), /which kubeadm cannot read/],
    [
      'an intermediate CA',
      () => authorityOf({ ...ca, signer: authorityOf({ subject: '/CN=root' }) }),
      /is not self-signed/,
    ],
  ];
  for (const [what, make, message] of imports) {
    it(`to import ${what}`, async (context) => {
      const node = await Node.of(context);
      const importFrom = await node.folderWith(make());
      await assert.rejects(node.plan({ importFrom }), { code: 'TRUST_REFUSED', message });
    });
  }

  it('to import a CA with the old key', async (context) => {
    const node = await Node.of(context);
    const importFrom = await node.folderWith(authorityOf({ ...ca, keyPem: node.old.key }));
    const message = /has the key of the old CA CN=kubernetes/;
    await assert.rejects(node.plan({ importFrom }), { code: 'TRUST_REFUSED', message });
  });

  it('to import a CA without its key, or with another key', async (context) => {
    const node = await Node.of(context);
    const importFrom = await node.folderWith(authorityOf(ca));
    await writeFile(join(importFrom, 'ca.key'), node.old.key);
    await assert.rejects(node.plan({ importFrom }), { code: 'CERT_KEY_MISMATCH' });
    await rm(join(importFrom, 'ca.key'));
    await assert.rejects(node.plan({ importFrom }), { code: 'PAIR_MALFORMED' });
  });

  it('to import another CA than the one that exists', async (context) => {
    const node = await Node.of(context);
    await node.apply();
    const importFrom = await node.folderWith(authorityOf(ca));
    const message = /has another CA than/;
    await assert.rejects(node.plan({ importFrom }), { code: 'TRUST_REFUSED', message });
  });

  it('the subject of the old CA if one of them has no key identifier', async (context) => {
    const node = await Node.of(context, {
      extensions: [constraints, usage, 'subjectKeyIdentifier=none'],
    });
    const message = /one of them has no SubjectKeyIdentifier/;
    const refused = { code: 'TRUST_REFUSED', message };
    await assert.rejects(node.plan({ commonName: 'Kubernetes' }), refused);
    const importFrom = await node.folderWith(authorityOf());
    await assert.rejects(node.plan({ importFrom }), refused);
    await node.apply();
  });

  it('without the key of the old CA', async (context) => {
    const node = await Node.of(context);
    await rm(node.path('ca.key'));
    await assert.rejects(node.plan(), { code: 'CA_EXTERNAL' });
  });

  it('with the key of another CA', async (context) => {
    const node = await Node.of(context);
    await writeFile(node.path('ca.key'), authorityOf().key);
    await assert.rejects(node.plan(), { code: 'CERT_KEY_MISMATCH' });
  });

  it('half of a new CA', async (context) => {
    const node = await Node.of(context);
    await node.apply();
    await rm(node.path('ca-next.key'));
    const message = /ca-next\.crt exists, and .*ca-next\.key does not/;
    await assert.rejects(node.plan(), { code: 'PAIR_MALFORMED', message });
  });

  it('a node that lacks the new CA of a rollover that has begun', async (context) => {
    const node = await Node.of(context);
    const both = Buffer.concat([node.old.certificate, authorityOf().certificate]);
    await writeFile(node.path('ca.crt'), both);
    await assert.rejects(node.plan(), (error) => hasCode(error, 'TRUST_REFUSED'));
  });
});
