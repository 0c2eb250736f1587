import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { parse } from 'yaml';
import { day } from '../../src/core/instant.ts';
import type { KubeadmTree } from '../pki/kubeadm-tree.ts';
import { makeKubeadmTree, writePair } from '../pki/kubeadm-tree.ts';
import { parseExposition } from '../metrics/exposition.ts';
import type { Ended } from '../support/doctor.ts';
import { nodecertd } from '../support/doctor.ts';

/** A tree with one certificate that expires in 9 days, and one malformed file. */
let tree: KubeadmTree;
before(async () => {
  const root = await mkdtemp(join(tmpdir(), 'nodecertd-certs-'));
  const now = Date.now();
  tree = await makeKubeadmTree(root, now);
  const soon = await tree.issue('apiserver', {
    notBefore: now - 356 * day,
    notAfter: now + 9 * day + day / 2,
  });
  await writePair(join(root, 'pki/apiserver.crt'), soon);
});
after(async () => rm(tree.directories.kubernetes, { recursive: true }));

async function check(...args: readonly string[]): Promise<Ended> {
  const { kubernetes } = tree.directories;
  const places = ['--kubernetes-dir', kubernetes, '--kubelet-cert-dir', join(kubernetes, 'none')];
  return nodecertd('certs', 'check-expiration', '--no-dial', ...places, ...args);
}

describe('nodecertd certs check-expiration', () => {
  it('shows the tables of kubeadm with a state, and each problem with its remedy', async () => {
    const { code, stdout, stderr } = await check();
    assert.equal(stderr, '');
    assert.equal(code, 3);
    const lines = stdout.split('\n').map((line) => line.split(/ {3,}/));
    assert.deepEqual(lines[0], [
      'CERTIFICATE',
      'EXPIRES',
      'RESIDUAL TIME',
      'CERTIFICATE AUTHORITY',
      'EXTERNALLY MANAGED',
      'STATE',
    ]);
    assert.deepEqual(lines[2]?.toSpliced(1, 1), ['apiserver', '9d', 'ca', 'no', 'expiring']);
    assert.match(stdout, /^ca +\w{3} \d\d, \d{4} \d\d:\d\d UTC +9y +no +ok$/m);
    assert.match(
      stdout,
      /^apiserver: expires in 9d 1\dh\n  → Renew it: nodecertd certs renew apiserver$/m,
    );
    // A control plane on this machine adds rows.
    assert.match(stdout, /^\d+ certificates, \d+ needs? attention\n$/m);
  });

  it('-o wide adds paths, serials, keys, components and reloads', async () => {
    const { stdout } = await check('-o', 'wide');
    const line = stdout.split('\n').find((text) => text.startsWith('etcd-server')) ?? '';
    assert.match(line, /pki\/etcd\/server\.crt +[0-9a-f]+ +ECDSA-256 +etcd +handshake$/);
  });

  it('-o json and -o yaml have the same document', async () => {
    const [json, yaml] = await Promise.all([check('-o', 'json'), check('-o', 'yaml')]);
    const document = JSON.parse(json.stdout) as { readonly items: { readonly name: string }[] };
    assert.deepEqual(
      document.items.map(({ name }) => name),
      (parse(yaml.stdout) as typeof document).items.map(({ name }) => name),
    );
    const item = document.items.find(({ name }) => name === 'apiserver');
    assert.deepEqual(Object.keys(item ?? {}), [
      'name',
      'kind',
      'places',
      'subject',
      'issuer',
      'serial',
      'sha256',
      'notBefore',
      'notAfter',
      'residualSeconds',
      'remainingFraction',
      'isAuthority',
      'usages',
      'altNames',
      'key',
      'ca',
      'state',
      'stateReason',
      'remedy',
      'managedBy',
      'usedBy',
      'reload',
    ]);
  });

  it('-o kubeadm exits with 0, whatever the states are', async () => {
    const { code, stdout } = await check('-o', 'kubeadm', '--fail-threshold', '30d');
    const { kind } = JSON.parse(stdout) as { readonly kind: string };
    assert.deepEqual([code, kind], [0, 'CertificateExpirationInfo']);
  });

  it('-o prometheus can be read by Prometheus, with one series for each place', async () => {
    const { stdout } = await check('-o', 'prometheus');
    const { samples } = parseExposition(stdout);
    const name = 'nodecertd_inventory_not_after_timestamp_seconds';
    const { kubernetes } = tree.directories;
    const notAfter = [...samples.keys()].filter(
      (series) => series.startsWith(`${name}{`) && series.includes(kubernetes),
    );
    // Eleven certificates, three CAs, and the CA in four kubeconfigs.
    assert.equal(notAfter.length, 18);
    assert.match(stdout, /nodecertd_inventory_state\{name="apiserver",[^}]*state="expiring"\} 1/);
  });

  it('--only shows these states, and the exit code is theirs', async () => {
    const expired = await check('--only', 'expired');
    assert.equal(expired.code, 0);
    assert.match(expired.stdout, /No certificate has the state expired\n$/);
    const expiring = await check('--only', 'expired,expiring', '-o', 'json');
    assert.equal(expiring.code, 3);
    assert.equal((JSON.parse(expiring.stdout) as { items: unknown[] }).items.length, 1);
  });

  it('--fail-threshold raises the exit code to 4', async () => {
    assert.equal((await check('--fail-threshold', '10d')).code, 4);
    assert.equal((await check('--threshold', '5d')).code, 0);
  });

  const wrong = [
    [['--threshold', '3 weeks'], /10%, 30d, 720h/],
    [['--only', 'broken'], /The states are ok, expiring/],
    [['-o', 'xml'], /table, wide, json, yaml, kubeadm, prometheus/],
  ] as const;
  for (const [args, hint] of wrong) {
    it(`${args.join(' ')} exits with 2 and names the choices`, async () => {
      const { code, stderr } = await check(...args);
      assert.equal(code, 2);
      assert.match(stderr, hint);
    });
  }

  it('--path lists further files by pattern', async () => {
    const folder = join(tree.directories.kubernetes, 'more');
    await writePair(join(folder, 'a.crt'), tree.authorities['etcd-ca']);
    await writeFile(join(folder, 'b.crt'), 'nothing');
    try {
      const { code, stdout } = await check('--path', join(folder, '*.crt'));
      assert.equal(code, 4);
      assert.match(stdout, /b\.crt: contains no certificate/);
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it('prints no line of a private key in any format', async () => {
    const key = await readFile(join(tree.directories.certificates, 'apiserver.key'), 'utf8');
    const [, secret = 'none'] = key.split('\n');
    for (const format of ['wide', 'json', 'prometheus', 'kubeadm']) {
      const { stdout } = await check('-o', format);
      assert.ok(!stdout.includes(secret), format);
    }
  });
});
