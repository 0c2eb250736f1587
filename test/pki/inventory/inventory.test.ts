import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  appendFile,
  chmod,
  copyFile,
  cp,
  mkdir,
  mkdtemp,
  readFile,
  rm,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { TestContext } from 'node:test';
import { parse, stringify } from 'yaml';
import { day } from '../../../src/core/instant.ts';
import { exitCodeFor } from '../../../src/cli/certs-check-expiration.ts';
import { inventoryDocument, kubeadmDocument } from '../../../src/cli/inventory-document.ts';
import type { Inventory, InventoryItem } from '../../../src/pki/inventory/inventory.ts';
import { takeInventory } from '../../../src/pki/inventory/inventory.ts';
import { defaultThreshold } from '../../../src/pki/inventory/judge.ts';
import type { ScanRequest } from '../../../src/pki/inventory/scan.ts';
import { scanCertificates } from '../../../src/pki/inventory/scan.ts';
import { temporaryDirectory } from '../../store/pairs.ts';
import type { KubeadmTree } from '../kubeadm-tree.ts';
import { kubeconfigWith, makeCa, makeKubeadmTree, makeLeaf, writePair } from '../kubeadm-tree.ts';

const now = Date.UTC(2026, 10, 28, 12);
const year = { notBefore: now - day, notAfter: now + 365 * day };

let fresh: KubeadmTree;
before(async () => {
  // Made once, because fourteen key pairs take time; each test gets a copy.
  fresh = await makeKubeadmTree(await mkdtemp(join(tmpdir(), 'nodecertd-pki-')), now);
});
after(async () => rm(fresh.directories.kubernetes, { recursive: true }));

/** A copy of the fresh tree, for changes. */
async function tree(test: TestContext): Promise<KubeadmTree> {
  const root = await temporaryDirectory(test);
  await cp(fresh.directories.kubernetes, root, { recursive: true });
  return { ...fresh, directories: { kubernetes: root, certificates: join(root, 'pki') } };
}

async function inventory(
  { directories }: Pick<KubeadmTree, 'directories'>,
  changes: Partial<ScanRequest> = {},
): Promise<Inventory> {
  const scan = await scanCertificates({
    directories,
    kubeletDirectory: join(directories.kubernetes, 'kubelet'),
    allKubeletPairs: false,
    kubeconfigs: [],
    named: [],
    paths: [],
    keepDer: true,
    components: new Set(),
    ...changes,
  });
  return takeInventory(scan, { now, threshold: defaultThreshold });
}

function item({ items }: Inventory, name: string): InventoryItem {
  const found = items.filter((candidate) => candidate.name === name);
  assert.equal(found.length, 1, `${found.length} rows are named ${name}`);
  return found[0] as InventoryItem;
}

/** The rows that are not ok: name, state, reason. */
function problems({ items }: Inventory): string[][] {
  return items
    .filter(({ state }) => state !== 'ok')
    .map(({ name, state, reason = '' }) => [name, state, reason]);
}

function issuer(url: string, certificateAuthority?: string): object {
  return { issuer: { url, certificateAuthority, audiences: ['a'] }, claimMappings: {} };
}

describe('takeInventory() of a kubeadm tree', () => {
  it('finds eleven certificates and three CAs, and all are ok', async (test) => {
    const found = await inventory(await tree(test));
    assert.deepEqual(problems(found), []);
    assert.equal(found.items.length, 14);
    const { authority, key } = item(found, 'etcd-peer');
    assert.equal(authority?.name, 'etcd-ca');
    assert.equal(key?.matches, true);
  });

  it('lists a CA once, with every kubeconfig that embeds it', async (test) => {
    const { places } = item(await inventory(await tree(test)), 'ca');
    assert.equal(places.length, 5);
    assert.deepEqual(places[1]?.entry, 'cluster kubernetes');
  });

  it('lists nothing of kubeadm as missing on a worker', async (test) => {
    const root = await temporaryDirectory(test);
    const certificates = join(root, 'pki');
    await writePair(join(certificates, 'ca.crt'), fresh.authorities.ca);
    await rm(join(certificates, 'ca.key'));
    const found = await inventory({ directories: { kubernetes: root, certificates } });
    assert.deepEqual(problems(found), []);
    assert.equal(found.items.length, 1);
  });

  it('lists nothing of kubeadm as missing if the API server has other files', async (test) => {
    const root = await temporaryDirectory(test);
    const directories = { kubernetes: root, certificates: join(root, 'pki') };
    const component = 'kube-apiserver';
    const use = { component, flag: 'tls-cert-file', kind: 'certificate' } as const;
    const other = join(root, 'ssl/apiserver.crt');
    await writePair(other, fresh.authorities.ca);
    const components = new Set([component]);
    const elsewhere = await inventory(
      { directories },
      { components, named: [{ ...use, path: other }] },
    );
    assert.deepEqual(problems(elsewhere), []);
    const own = { ...use, path: join(directories.certificates, 'apiserver.crt') };
    const lost = await inventory({ directories }, { components, named: [own] });
    assert.equal(problems(lost).filter(([, state]) => state === 'missing').length, 8);
  });

  it('expects no certificate of etcd beside an external etcd', async (test) => {
    const one = await tree(test);
    await rm(join(one.directories.certificates, 'etcd'), { recursive: true });
    await rm(join(one.directories.certificates, 'apiserver-etcd-client.crt'));
    const found = await inventory(one, { components: new Set(['kube-apiserver']) });
    assert.deepEqual(problems(found), []);
  });

  it('does not expect super-admin.conf', async (test) => {
    const one = await tree(test);
    await rm(join(one.directories.kubernetes, 'super-admin.conf'));
    assert.deepEqual(problems(await inventory(one)), []);
  });

  it('reports a missing leaf and a missing kubeconfig, and shows the others', async (test) => {
    const one = await tree(test);
    await rm(join(one.directories.certificates, 'apiserver.crt'));
    await rm(join(one.directories.kubernetes, 'admin.conf'));
    const found = await inventory(one);
    assert.deepEqual(problems(found), [
      ['admin.conf', 'missing', 'does not exist'],
      ['apiserver', 'missing', 'does not exist'],
    ]);
    assert.equal(found.items.length, 14);
    assert.equal(exitCodeFor(found.items, undefined, now), 4);
  });

  it('reports an expired leaf beside a missing CA key, as external', async (test) => {
    const one = await tree(test);
    const { certificates } = one.directories;
    await rm(join(certificates, 'ca.key'));
    const old = await one.issue('apiserver', { notBefore: now - 365 * day, notAfter: now - day });
    await writePair(join(certificates, 'apiserver.crt'), old);
    const found = await inventory(one);
    assert.deepEqual(problems(found), [['apiserver', 'expired', 'expired 1d ago']]);
    const apiserver = item(found, 'apiserver');
    assert.equal(apiserver.authority?.external, true);
    assert.match(apiserver.remedy ?? '', /: nodecertd certs renew apiserver --csr-out DIR$/);
    assert.equal(item(found, 'etcd-server').authority?.external, false);
    assert.deepEqual(
      ['ca', 'etcd-ca'].map((name) => item(found, name).external),
      [true, false],
    );
    const { certificateAuthorities } = JSON.parse(kubeadmDocument(found)) as {
      readonly certificateAuthorities: { readonly externallyManaged: boolean }[];
    };
    const external = certificateAuthorities.map(({ externallyManaged }) => externallyManaged);
    assert.deepEqual(external, [true, false, false]);
  });

  it('raises the exit code of an expiring certificate by the fail threshold', async (test) => {
    const one = await tree(test);
    const soon = await one.issue('etcd-peer', {
      notBefore: now - 335 * day,
      notAfter: now + 30 * day,
    });
    await writePair(join(one.directories.certificates, 'etcd/peer.crt'), soon);
    const { items } = await inventory(one);
    assert.equal(item({ items } as Inventory, 'etcd-peer').state, 'expiring');
    assert.equal(exitCodeFor(items, undefined, now), 3);
    assert.equal(exitCodeFor(items, { kind: 'duration', ms: 31 * day }, now), 4);
    assert.equal(exitCodeFor(items, { kind: 'duration', ms: 29 * day }, now), 3);
  });

  it('lists both CAs of a bundle, and a leaf of either is ok', async (test) => {
    const one = await tree(test);
    const { certificates } = one.directories;
    const next = await makeCa('kubernetes', { notBefore: now - day, notAfter: now + 3650 * day });
    await appendFile(join(certificates, 'ca.crt'), next.pem);
    const leaf = await makeLeaf(next, {
      ...year,
      subject: 'CN=kube-apiserver',
      usages: ['server auth'],
    });
    await writePair(join(certificates, 'apiserver.crt'), leaf);
    const found = await inventory(one);
    assert.deepEqual(problems(found), []);
    assert.equal(item(found, 'ca (2 of 2)').section, 'authority');
    const issuers = ['apiserver', 'front-proxy-client'].map((name) => item(found, name).authority);
    assert.deepEqual(
      issuers.map((issuer) => issuer?.name),
      ['ca', 'front-proxy-ca'],
    );
  });

  it('compares CAs by key: a new CA of the same name did not sign the leaf', async (test) => {
    const one = await tree(test);
    const next = await makeCa('kubernetes', year);
    const { kubernetes, certificates } = one.directories;
    await writePair(join(certificates, 'ca.crt'), next);
    for (const name of ['admin', 'super-admin', 'controller-manager', 'scheduler']) {
      await rm(join(kubernetes, `${name}.conf`));
    }
    const states = problems(await inventory(one)).filter(([, state]) => state === 'wrong-ca');
    assert.deepEqual(
      states.map(([name]) => name),
      ['apiserver', 'apiserver-kubelet-client'],
    );
  });

  it('reads a leaf after its intermediate, and verifies the chain', async (test) => {
    const one = await tree(test);
    const { certificates } = one.directories;
    const path = join(certificates, 'apiserver.crt');
    const { pem } = fresh.authorities['front-proxy-ca'];
    await writeFile(path, `${pem}# leaf\n${await readFile(path, 'utf8')}`);
    const found = await inventory(one);
    assert.deepEqual(problems(found), []);
    assert.equal(item(found, 'apiserver').places[0]?.entry, '2');
  });

  it('reports a key of another certificate, and a key that every user can read', async (test) => {
    const one = await tree(test);
    const { certificates } = one.directories;
    await copyFile(join(certificates, 'etcd/peer.key'), join(certificates, 'etcd/server.key'));
    await chmod(join(certificates, 'apiserver.key'), 0o644);
    const found = problems(await inventory(one)).map(([name, state]) => [name, state]);
    assert.deepEqual(found, [
      ['apiserver', 'mode'],
      ['etcd-server', 'key-mismatch'],
    ]);
  });
});

describe('takeInventory() of other files', () => {
  it('merges a copy of admin.conf into its row, and reports an old copy', async (test) => {
    const one = await tree(test);
    const { kubernetes } = one.directories;
    const copy = join(kubernetes, 'copy');
    await copyFile(join(kubernetes, 'admin.conf'), copy);
    const old = await one.issue('admin.conf', {
      notBefore: now - 300 * day,
      notAfter: now + 65 * day,
    });
    const stale = join(kubernetes, 'stale');
    await writeFile(stale, kubeconfigWith(old, fresh.authorities.ca.pem));
    const found = await inventory(one, { kubeconfigs: [copy, stale] });
    assert.deepEqual(
      item(found, 'admin.conf').places.map(({ path }) => path),
      [join(kubernetes, 'admin.conf'), copy],
    );
    assert.deepEqual(problems(found), [
      [
        `${stale} (user kubernetes-admin)`,
        'stale-copy',
        'is an old copy of admin.conf, which was renewed',
      ],
    ]);
  });

  it('reports kubelet.conf with an old certificate of the kubelet', async (test) => {
    const one = await tree(test);
    const { kubernetes } = one.directories;
    const subject = 'O=system:nodes,CN=system:node:cp1';
    const ca = fresh.authorities.ca;
    const node = { subject, usages: ['client auth'] } as const;
    const old = await makeLeaf(ca, {
      ...node,
      notBefore: now - 300 * day,
      notAfter: now + 65 * day,
    });
    const current = await makeLeaf(ca, { ...node, ...year });
    await writeFile(join(kubernetes, 'kubelet.conf'), kubeconfigWith(old, ca.pem));
    await mkdir(join(kubernetes, 'kubelet'));
    const pair = join(kubernetes, 'kubelet/kubelet-client-2026-11-28-12-00-00.pem');
    await writeFile(pair, `${current.pem}${current.keyPem}`, { mode: 0o600 });
    await symlink(pair, join(kubernetes, 'kubelet/kubelet-client-current.pem'));
    const found = await inventory(one, { allKubeletPairs: true });
    const [[name, state] = []] = problems(found);
    assert.equal(name, `${join(kubernetes, 'kubelet.conf')} (user kubernetes-admin)`);
    assert.equal(state, 'stale-copy');
    assert.match(item(found, name ?? '').remedy ?? '', /nodecertd adopt/);
    assert.equal(item(found, 'kubelet-client').managedBy, 'kubelet');
    assert.equal(problems(found).length, 1);
  });

  it('gives each kind of kubeconfig its row or its reason', async (test) => {
    const one = await tree(test);
    const { kubernetes } = one.directories;
    const leaf = await one.issue('admin.conf', year);
    await writePair(join(kubernetes, 'client.crt'), leaf);
    const text = kubeconfigWith(leaf, fresh.authorities.ca.pem);
    const user = (lines: string): string => text.replace(/ {4}client-certificate-data[^]*$/, lines);
    const rows = [
      [
        'files',
        user('    client-certificate: ../client.crt\n    client-key: ../client.key\n'),
        'ok',
        '',
      ],
      ['token', user('    token: abc\n'), undefined, 'authenticates with a token'],
      ['exec', user('    exec: {command: aws}\n'), undefined, 'authenticates with an exec plugin'],
      ['base64', user('    client-certificate-data: "%"\n'), 'unreadable', 'is not base64'],
      ['context', text.replace(/current-context.*\n/, ''), 'unreadable', 'has no current-context'],
      ['absent', user('    client-certificate: none.crt\n'), 'unreadable', 'does not exist'],
      ['yaml', `${text}\t- : [`, 'unreadable', 'invalid YAML'],
      ['list', '- a\n- b\n', 'unreadable', 'has no current-context'],
    ] as const;
    await mkdir(join(kubernetes, 'configs'));
    for (const [name, content, state, reason] of rows) {
      const path = join(kubernetes, 'configs', name);
      await writeFile(path, content);
      const found = await inventory(one, { kubeconfigs: [path] });
      const states = found.items
        .filter(({ places }) => places.some((place) => place.path === path))
        .filter(({ section }) => section === 'other')
        .map((row) => [row.state, row.reason ?? ''] as const);
      const skipped = found.skipped.filter((left) => left.path.startsWith(path));
      if (state === undefined) assert.match(skipped[0]?.reason ?? '', new RegExp(reason), name);
      else {
        assert.ok(
          states.some(([kind, why]) => kind === state && why.includes(reason)),
          `${name}: ${JSON.stringify(states)}`,
        );
      }
    }
  });

  it('tells a user who may not read a file to use root, not a backup', () => {
    const place = { path: '/etc/kubernetes/admin.conf' };
    const reason = 'cannot be read: EACCES: permission denied';
    const gap = { name: 'admin.conf', section: 'certificate', place, reason, usedBy: [] } as const;
    const scan = { sightings: [], gaps: [{ ...gap, state: 'unreadable' } as const], skipped: [] };
    const [item] = takeInventory(scan, { now, threshold: defaultThreshold }).items;
    assert.match(item?.remedy ?? '', /^Run the command as root/);
  });

  it('asks for a shorter path if a path is too long', async (test) => {
    const path = `/${'a'.repeat(256)}.crt`;
    const found = item(await inventory(await tree(test), { paths: [path] }), path);
    assert.match(found.remedy ?? '', /^Use a shorter path: /);
  });

  it('shows why a file cannot be read, and still lists the others', async (test) => {
    const one = await tree(test);
    const { certificates } = one.directories;
    const at = (name: string): string => join(certificates, name);
    await mkdir(at('folder'));
    execFileSync('mkfifo', [at('fifo.crt')]);
    await writeFile(at('huge.crt'), '');
    await truncate(at('huge.crt'), 1024 ** 3);
    await symlink('loop.crt', at('loop.crt'));
    await writeFile(at('text.crt'), 'not a certificate\n');
    await writeFile(at('empty.pem'), '');
    await writeFile(at('store.pem'), Uint8Array.of(0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2));
    await writeFile(at('half.crt'), (await readFile(at('ca.crt'), 'utf8')).slice(0, 300));
    const found = await inventory(one, { paths: [at('folder'), at('absent.crt')] });
    const rows = problems(found).map(([name = '', state, reason = '']) => [
      name.replace(`${certificates}/`, ''),
      state,
      reason,
    ]);
    assert.deepEqual(rows, [
      ['absent.crt', 'missing', 'does not exist'],
      ['empty.pem', 'unreadable', 'is empty'],
      ['fifo.crt', 'unreadable', 'is not a regular file'],
      ['folder', 'unreadable', 'is not a regular file'],
      ['half.crt', 'unreadable', 'the PEM block CERTIFICATE has no END line'],
      ['huge.crt', 'unreadable', 'has 1073741824 bytes, more than 4194304'],
      ['loop.crt', 'unreadable', 'is a loop of links'],
      ['store.pem', 'unreadable', 'keystore: nodecertd does not open PKCS #12 or JKS'],
      ['text.crt', 'unreadable', 'contains no certificate'],
    ]);
    assert.equal(found.items.filter(({ state }) => state === 'ok').length, 14);
  });

  it('shows the sound certificates of a file with a malformed block', async (test) => {
    const one = await tree(test);
    const path = join(one.directories.certificates, 'bundle.pem');
    const sound = fresh.authorities['etcd-ca'].pem;
    const other = (await makeCa('other', year)).pem;
    await writeFile(path, `${other}${sound.replace(/\n(.)/, '\n*')}${other}`);
    const rows = problems(await inventory(one));
    assert.deepEqual(rows, [[path, 'unreadable', 'the PEM block CERTIFICATE is not base64']]);
  });

  it('lists files that flags name, with component and flag', async (test) => {
    const one = await tree(test);
    const folder = join(dirname(one.directories.certificates), 'ssl');
    const leaf = await makeLeaf(fresh.authorities['etcd-ca'], {
      ...year,
      subject: 'CN=etcd-node',
      usages: ['client auth'],
    });
    await writePair(join(folder, 'node.pem'), leaf);
    await cp(join(folder, 'node.key'), join(folder, 'node-private.pem'));
    await rm(join(folder, 'node.key'));
    const component = 'kube-apiserver';
    const found = await inventory(one, {
      named: [
        { path: join(folder, 'node.pem'), component, flag: 'etcd-certfile', kind: 'certificate' },
        { path: join(folder, 'node-private.pem'), component, flag: 'etcd-keyfile', kind: 'key' },
        { path: join(folder, 'oidc.pem'), component, flag: 'oidc-ca-file', kind: 'authority' },
      ],
    });
    const row = item(found, join(folder, 'node.pem'));
    assert.deepEqual(row.usedBy, [{ component, flag: 'etcd-certfile' }]);
    assert.equal(row.key?.matches, true);
    assert.equal(row.authority?.name, 'etcd-ca');
    assert.deepEqual(problems(found), [[join(folder, 'oidc.pem'), 'missing', 'does not exist']]);
  });

  it('recognizes a kubeconfig among the files of --path by its content', async (test) => {
    const one = await tree(test);
    const leaf = await makeLeaf(fresh.authorities.ca, {
      ...year,
      subject: 'CN=alice',
      usages: ['client auth'],
    });
    const yaml = kubeconfigWith(leaf, fresh.authorities.ca.pem);
    const text = { yaml, json: JSON.stringify(parse(yaml)), 'with a comment': `# mine\n${yaml}` };
    for (const [name, content] of Object.entries(text)) {
      const path = join(one.directories.kubernetes, name);
      await writeFile(path, content);
      const found = await inventory(one, { paths: [path] });
      assert.deepEqual(problems(found), []);
      const row = item(found, `${path} (user kubernetes-admin)`);
      assert.equal(row.certificate?.subject, 'CN=alice');
      assert.equal(row.key?.matches, true);
    }
    const other = join(one.directories.kubernetes, 'users.txt');
    await writeFile(other, 'the users: alice\n');
    const rows = problems(await inventory(one, { paths: [other] }));
    assert.deepEqual(rows, [[other, 'unreadable', 'contains no certificate']]);
  });

  it('lists the CAs that an AuthenticationConfiguration embeds', async (test) => {
    const one = await tree(test);
    const path = join(one.directories.kubernetes, 'authentication.yaml');
    const named = [
      { path, component: 'kube-apiserver', flag: 'authentication-config' } as const,
    ].map((use) => ({ ...use, kind: use.flag }));
    const [first, second] = [await makeCa('one', year), await makeCa('two', year)];
    const jwt = [
      issuer('https://a.example', `${first.pem}${second.pem}`),
      issuer('https://b.example', 'nonsense'),
      issuer('https://c.example'),
    ];
    const kind = 'AuthenticationConfiguration';
    const apiVersion = 'apiserver.config.k8s.io/v1';
    await writeFile(path, stringify({ apiVersion, kind, jwt }));
    const found = await inventory(one, { named });
    const row = item(found, `${path} (issuer https://a.example, 2 of 2)`);
    assert.equal(row.certificate?.subject, 'CN=two');
    assert.deepEqual(row.usedBy, [{ component: 'kube-apiserver', flag: 'authentication-config' }]);
    assert.deepEqual(problems(found), [
      [
        `${path} (issuer https://b.example)`,
        'unreadable',
        'embeds a certificateAuthority that contains no certificate',
      ],
    ]);
    for (const [text, reason] of [
      ['jwt: 1', 'is not an AuthenticationConfiguration'],
      ['jwt: [', /^is not valid YAML: line \d+/],
    ] as const) {
      await writeFile(path, text);
      const [[, state, why] = []] = problems(await inventory(one, { named }));
      assert.equal(state, 'unreadable');
      assert.match(why ?? '', new RegExp(reason));
    }
    await rm(path);
    const lost = problems(await inventory(one, { named }));
    assert.deepEqual(lost, [[path, 'missing', 'does not exist']]);
  });

  it('has no byte of a private key in its document', async (test) => {
    const one = await tree(test);
    const document = JSON.stringify(inventoryDocument(await inventory(one)));
    const key = await readFile(join(one.directories.certificates, 'ca.key'), 'utf8');
    for (const line of key.split('\n').filter((text) => !text.startsWith('---') && text !== '')) {
      assert.ok(!document.includes(line));
    }
    assert.doesNotMatch(document, /PRIVATE KEY/);
  });
});
