import assert from 'node:assert/strict';
import { once } from 'node:events';
import { watch } from 'node:fs';
import { mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { kubeadmCertificates } from '../../src/pki/layout.ts';
import { snapshot } from '../adopt/snapshot.ts';
import type { KubeadmTree } from '../pki/renewal/renewal-tree.ts';
import { copyOf, sharedTree } from '../pki/renewal/renewal-tree.ts';
import type { Ended } from '../support/doctor.ts';
import { nodecertd } from '../support/doctor.ts';
import { scaled } from '../support/machine-speed.ts';

const model = sharedTree();

function certs({ kubernetes }: KubeadmTree, ...args: readonly string[]): Promise<Ended> {
  return nodecertd('certs', ...args, '--kubernetes-dir', kubernetes);
}

const renew = (tree: KubeadmTree, ...args: readonly string[]): Promise<Ended> =>
  certs(tree, 'renew', '--no-verify', ...args);
const filesOf = ({ kubernetes }: KubeadmTree): ReturnType<typeof snapshot> =>
  snapshot(kubernetes, '/.nodecertd');

interface Document {
  readonly state: string;
  readonly backup?: string;
  readonly certificates: readonly Readonly<Record<string, unknown>>[];
  readonly openRestarts: readonly { readonly component: string }[];
  readonly warnings: readonly { readonly what: string }[];
}

function documentOf({ stdout }: Ended): Document {
  return JSON.parse(stdout) as Document;
}

function schedulerManifest(kubeconfig: string): string {
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'kube-scheduler', namespace: 'kube-system' },
    spec: {
      hostNetwork: true,
      containers: [
        {
          name: 'kube-scheduler',
          command: ['kube-scheduler', `--kubeconfig=${kubeconfig}`],
          volumeMounts: [{ name: 'kubeconfig', mountPath: kubeconfig }],
        },
      ],
      volumes: [{ name: 'kubeconfig', hostPath: { path: kubeconfig } }],
    },
  });
}

describe('nodecertd certs renew', () => {
  it('--all --yes renews, and says what to restart', async (context) => {
    const tree = await copyOf(context, model);
    const { code, stdout, stderr } = await renew(tree, '--all', '--yes');
    assert.equal(stderr, '');
    assert.equal(code, 3);
    assert.match(stdout, /^apiserver +renewed +\S+Z +\S+Z +ECDSA P-256 +\S+\/pki\/ca\.crt$/m);
    assert.match(
      stdout,
      /^RESTART BY HAND\n {2}kube-controller-manager reads the certificate embedded in/m,
    );
    assert.match(stdout, /^ {2}kube-scheduler reads/m);
    assert.match(
      stdout,
      /^11 certificates renewed\. The previous files are in \S+\.nodecertd\/\S+-1;/m,
    );
    assert.equal(stdout.match(/→ Restart kube-\S+, and wait until it is ready: /g)?.length, 2);
  });

  it('--dry-run writes nothing, and shows the same plan as JSON', async (context) => {
    const tree = await copyOf(context, model);
    const before = await filesOf(tree);
    const events: string[] = [];
    const watcher = watch(tree.kubernetes, { recursive: true });
    context.after(() => watcher.close());
    watcher.on('change', (event, file) => events.push(`${event} ${String(file)}`));
    const ended = await renew(tree, '--all', '--dry-run', '-o', 'json');
    assert.deepEqual(events, []);
    assert.deepEqual(await filesOf(tree), before);
    // The watcher works: it notices a change.
    const changed = once(watcher, 'change', { signal: AbortSignal.timeout(scaled(10_000)) });
    await writeFile(join(tree.certificates, 'x'), '');
    await changed;
    assert.ok(!(await readdir(tree.kubernetes)).includes('.nodecertd'));
    const document = documentOf(ended);
    assert.equal(document.state, 'planned');
    assert.equal(document.certificates.length, kubeadmCertificates.length);
    assert.ok(document.certificates.every(({ state }) => state === 'renew'));
    assert.deepEqual(
      document.openRestarts.map(({ component }) => component),
      ['kube-controller-manager', 'kube-scheduler'],
    );
  });

  it('-o json has the new serials and the folder of the copies, and no key', async (context) => {
    const tree = await copyOf(context, model);
    const ended = await renew(tree, 'apiserver', 'admin.conf', '--yes', '-o', 'json');
    const { state, backup = '', certificates } = documentOf(ended);
    assert.equal(state, 'done');
    assert.match(String(certificates[0]?.['newSerial']), /^[0-9a-f]{32}$/);
    const plan = await readFile(join(backup, 'plan.json'), 'utf8');
    assert.equal((JSON.parse(plan) as Document).state, 'planned');
    const key = await readFile(join(tree.certificates, 'apiserver.key'), 'utf8');
    const [line = ''] = key.split('\n').slice(1);
    assert.ok(line.length > 40);
    assert.ok(!`${ended.stdout}${plan}`.includes(line.slice(4, 30)));
  });

  it('ends a certificate with its CA, and exits with 3', async (context) => {
    const tree = await copyOf(context, model);
    const ended = await renew(tree, 'apiserver', '--lifetime', '20y', '--dry-run', '-o', 'json');
    assert.equal(ended.code, 3);
    assert.match(
      documentOf(ended).warnings[0]?.what ?? '',
      /^apiserver will expire with its CA at /,
    );
  });

  it('exits with 0 when nothing is due', async () => {
    const { code, stdout } = await certs(model, 'renew', '--due', '--yes');
    assert.equal(code, 0);
    assert.match(stdout, /^Nothing to renew$/m);
    assert.ok(!(await readdir(model.kubernetes)).includes('.nodecertd'));
  });

  it('exits with 1 for a named certificate that does not exist', async (context) => {
    const tree = await copyOf(context, model);
    await rm(join(tree.kubernetes, 'super-admin.conf'));
    const { code, stdout } = await renew(tree, 'super-admin.conf', '--yes');
    assert.equal(code, 1);
    assert.match(
      stdout,
      /super-admin\.conf does not exist\n {4}→ Restore it .*: kubeadm init phase kubeconfig super-admin$/m,
    );
  });

  it('--all exits with 1 for a missing file that a program of this node uses', async (context) => {
    const tree = await copyOf(context, model);
    const [unused, used] = ['super-admin.conf', 'scheduler.conf'].map((name) =>
      join(tree.kubernetes, name),
    );
    await rm(unused ?? '');
    await rm(used ?? '');
    const renewed = await renew(tree, '--all', '--yes');
    assert.equal(renewed.code, 3, renewed.stdout);
    const manifests = join(tree.kubernetes, 'manifests');
    await mkdir(manifests);
    await writeFile(join(manifests, 'kube-scheduler.yaml'), schedulerManifest(used ?? ''));
    const { code, stdout } = await renew(tree, '--all', '--yes', '--restart', 'never');
    assert.equal(code, 1, stdout);
    assert.match(
      stdout,
      /^PROBLEMS\n {2}\S+scheduler\.conf does not exist\n {4}→ .*kubeconfig scheduler$/m,
    );
    assert.doesNotMatch(stdout, /super-admin\.conf does not exist/);
    assert.match(stdout, /^apiserver +renewed/m);
  });

  it('exits with 3 for an external CA', async (context) => {
    const tree = await copyOf(context, model);
    await rm(join(tree.certificates, 'front-proxy-ca.key'));
    const { code, stdout } = await renew(tree, 'front-proxy-client', '--yes');
    assert.equal(code, 3);
    assert.match(stdout, /^front-proxy-client +external CA/m);
    assert.match(stdout, /the key of the CA CN=front-proxy-ca is not beside/);
  });

  const wrong = [
    [[], /pass either names, or --all, or --due/],
    [['apiserver', '--all'], /pass either names, or --all, or --due/],
    [['--all', '--yes', '--dry-run'], /exclude each other/],
    [['--all'], /without a terminal, this command needs --yes or --dry-run/],
    [['apisever', '--yes'], /kubeadm has no certificate "apisever"/],
    [
      ['--all', '--lifetime', '5'],
      /--lifetime must be a duration of at least 10m or ca, found "5"/,
    ],
    [['--all', '--key', 'dsa'], /Allowed choices are ecdsa-p256/],
  ] as const;
  for (const [args, message] of wrong) {
    it(`${args.join(' ') || 'without arguments'} exits with 2, and changes nothing`, async () => {
      const before = await filesOf(model);
      const { code, stderr } = await renew(model, ...args);
      assert.equal(code, 2);
      assert.match(stderr, message);
      assert.deepEqual(await filesOf(model), before);
    });
  }
});

describe('nodecertd certs rollback', () => {
  it('--dry-run lists renewals and files, and --yes restores them', async (context) => {
    const tree = await copyOf(context, model);
    const before = await filesOf(tree);
    await renew(tree, 'apiserver', '--yes');
    await renew(tree, 'admin.conf', '--yes');
    const planned = await certs(tree, 'rollback', '--dry-run');
    assert.equal(planned.code, 0);
    assert.match(planned.stdout, /^\S+Z-2 +complete +admin\.conf\n\S+Z-1 +complete +apiserver$/m);
    assert.match(planned.stdout, /^FILES TO RESTORE\n \S*.*\/admin\.conf\n/m);
    const [, first = ''] = /^(\S+Z-1) /m.exec(planned.stdout) ?? [];
    const done = await certs(tree, 'rollback', first, '--yes');
    assert.equal(done.code, 0);
    assert.match(done.stdout, new RegExp(`from before the renewal ${first} are restored\n$`));
    assert.deepEqual(await filesOf(tree), before);
  });

  it('has nothing to do without a renewal', async () => {
    const { code, stdout } = await certs(model, 'rollback', '--yes');
    assert.deepEqual([code, stdout], [0, 'There is no renewal to roll back\n']);
  });
});
