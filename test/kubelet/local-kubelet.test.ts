import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { describe, it } from 'node:test';
import type { LocalKubelet } from '../../src/kubelet/local-kubelet.ts';
import { findLocalKubelet } from '../../src/kubelet/local-kubelet.ts';
import { temporaryDirectory } from '../store/pairs.ts';
import { fakeProc } from '../sys/fake-proc.ts';
import { fakeSystemctl, shownUnit } from '../sys/fake-systemctl.ts';

const missing = 'LoadState=not-found\n';
const self = { cmdline: 'node\0', mounts: 'mnt:[1]', parent: 1, cgroup: '' };

/** A kubelet that runs with these flags; without flags, no kubelet runs. */
async function find(
  context: TestContext,
  {
    flags,
    shown = missing,
    configFile = '/none',
  }: {
    readonly flags?: readonly string[];
    readonly shown?: string;
    readonly configFile?: string;
  },
): Promise<LocalKubelet> {
  const proc = await temporaryDirectory(context);
  const cmdline = ['kubelet', ...(flags ?? []), ''].join('\0');
  await fakeProc(proc, { self, ...(flags && { 7: { ...self, cmdline } }) });
  return findLocalKubelet({ proc, systemctl: await fakeSystemctl(context, shown), configFile });
}

async function configuration(context: TestContext, text: string): Promise<string> {
  const path = join(await temporaryDirectory(context), 'config.yaml');
  await writeFile(path, text);
  return path;
}

const defaults: LocalKubelet = {
  found: false,
  certificateDirectory: '/var/lib/kubelet/pki',
  staticPodPath: '/etc/kubernetes/manifests',
  address: '0.0.0.0',
  port: 10_250,
  serverTLSBootstrap: false,
  problems: [],
};

describe('findLocalKubelet()', () => {
  it('has the defaults of the kubelet and of kubeadm on a machine without a kubelet', async (t) => {
    assert.deepEqual(await find(t, {}), defaults);
  });

  it('reads the usual file if the command line is unknown', async (t) => {
    const configFile = await configuration(
      t,
      `staticPodPath: manifests
address: 10.0.0.5
port: 10260
serverTLSBootstrap: true
authentication: {x509: {clientCAFile: /ca.crt}}
tlsCertFile: /x.crt
`,
    );
    assert.deepEqual(await find(t, { configFile }), {
      ...defaults,
      found: true,
      staticPodPath: join(configFile, '../manifests'),
      address: '10.0.0.5',
      port: 10_260,
      serverTLSBootstrap: true,
      clientCAFile: '/ca.crt',
      tlsCertFile: '/x.crt',
    });
  });

  it('prefers flags, and does not read the usual file if flags name none', async (t) => {
    const configFile = await configuration(t, 'staticPodPath: /file\n');
    const flags = [
      '--pod-manifest-path=/flag',
      '--kubeconfig=k',
      '--client-ca-file',
      '/c',
      '--port=1',
    ];
    assert.deepEqual(await find(t, { flags, configFile }), {
      ...defaults,
      found: true,
      staticPodPath: '/flag',
      kubeconfig: '/k',
      clientCAFile: '/c',
      port: 1,
    });
  });

  it('merges the drop-ins of --config-dir', async (t) => {
    const file = await configuration(
      t,
      'staticPodPath: /a\nauthentication: {x509: {clientCAFile: /a.crt}}\n',
    );
    const drops = join(file, '../drops');
    await mkdir(drops);
    await writeFile(join(drops, '1.conf'), 'staticPodPath: /b\nauthentication: null\n');
    const found = await find(t, { flags: [`--config=${file}`, `--config-dir=${drops}`] });
    assert.deepEqual([found.staticPodPath, found.clientCAFile], ['/b', undefined]);
  });

  it('reports an unreadable configuration, and keeps the flags', async (t) => {
    const file = await configuration(t, 'port: "c2VjcmV0"\n');
    const found = await find(t, { flags: [`--config=${file}`, '--pod-manifest-path=/m'] });
    assert.equal(found.staticPodPath, '/m');
    assert.deepEqual(found.problems, [
      { path: file, reason: `${file} is not a KubeletConfiguration: port must be number` },
    ]);
  });

  it('finds a kubelet whose service is uncertain', async (t) => {
    const shown = shownUnit({ exec: '/bin/sh -c kubelet' });
    assert.deepEqual(await find(t, { shown }), { ...defaults, found: true });
  });
});
