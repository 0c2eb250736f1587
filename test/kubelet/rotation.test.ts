import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { describe, it } from 'node:test';
import { KubeletRotation, readKubelet } from '../../src/kubelet/rotation.ts';
import { until } from '../keeper/fixtures.ts';
import { temporaryDirectory } from '../store/pairs.ts';
import { fakeProc } from '../sys/fake-proc.ts';
import { fakeSystemctl, shownUnit } from '../sys/fake-systemctl.ts';

describe('KubeletRotation.settingFor()', () => {
  const both = 'rotateCertificates: true\nserverTLSBootstrap: true\n';
  const cases: readonly (readonly [string, string, string, string | undefined])[] = [
    ['the client certificate', 'kubelet-client', both, 'rotateCertificates'],
    ['the serving certificate', 'kubelet-server', both, 'serverTLSBootstrap'],
    ['a certificate of another name', 'node-exporter', both, undefined],
    [
      'a certificate with a disabled setting',
      'kubelet-client',
      'rotateCertificates: false',
      undefined,
    ],
    ['a certificate without a setting', 'kubelet-server', 'rotateCertificates: true', undefined],
    [
      'a certificate with an invalid configuration',
      'kubelet-client',
      'rotateCertificates: [',
      undefined,
    ],
  ];
  for (const [what, name, text, key] of cases) {
    it(`finds ${key === undefined ? 'none' : key} for ${what}`, async (context) => {
      const { config } = await managedDirectory(context, text);
      const observed = await new KubeletRotation(config).settingFor(name);
      const { configFile: file } = config.kubelet;
      assert.deepEqual(observed, key === undefined ? undefined : { file, key });
      const on = { ...config, kubelet: { ...config.kubelet, deferToKubelet: false } };
      assert.equal(await new KubeletRotation(on).settingFor(name), undefined);
    });
  }

  it('finds none without a kubelet, and for another certificate directory', async (context) => {
    const directory = await temporaryDirectory(context);
    const configFile = join(directory, 'config.yaml');
    const kubelet = { configFile, certificateDirectory: directory, deferToKubelet: true };
    const config = { certificateDirectory: directory, kubelet };
    assert.equal(await new KubeletRotation(config).settingFor('kubelet-client'), undefined);
    await writeFile(configFile, both);
    const elsewhere = { ...config, certificateDirectory: join(directory, 'own') };
    assert.equal(await new KubeletRotation(elsewhere).settingFor('kubelet-client'), undefined);
  });

  it('compares directories by their real path', async (context) => {
    const directory = await temporaryDirectory(context);
    const configFile = join(directory, 'config.yaml');
    await writeFile(configFile, both);
    await mkdir(join(directory, 'pki'));
    await symlink(join(directory, 'pki'), join(directory, 'link'));
    const certificateDirectory = join(directory, 'link');
    const kubelet = {
      configFile,
      certificateDirectory: join(directory, 'pki'),
      deferToKubelet: true,
    };
    const rotation = new KubeletRotation({ certificateDirectory, kubelet });
    const observed = await rotation.settingFor('kubelet-client');
    assert.equal(observed?.key, 'rotateCertificates');
  });

  it('reads the kubelet once for simultaneous calls', async (context) => {
    const { directory, config } = await managedDirectory(context, both);
    const systemctl = await systemctlScript(directory, `echo run >>${directory}/runs`);
    const rotation = new KubeletRotation(config, { proc: await noProcesses(context), systemctl });
    const names = ['kubelet-client', 'kubelet-server', 'kubelet-client'];
    const found = await Promise.all(names.map((name) => rotation.settingFor(name)));
    const keys = found.map((setting) => setting?.key);
    assert.deepEqual(keys, ['rotateCertificates', 'serverTLSBootstrap', 'rotateCertificates']);
    assert.equal(await readFile(join(directory, 'runs'), 'utf8'), 'run\n');
  });

  it('notices a change during the reading of an earlier call', async (context) => {
    const { directory, config } = await managedDirectory(context, 'rotateCertificates: false\n');
    const systemctl = await systemctlScript(
      directory,
      `touch ${directory}/started; until [ -e ${directory}/changed ]; do sleep 0.01; done`,
    );
    const rotation = new KubeletRotation(config, { proc: await noProcesses(context), systemctl });
    const early = rotation.settingFor('kubelet-client');
    await until('the reading of the first call', () => existsSync(join(directory, 'started')));
    await writeFile(config.kubelet.configFile, both);
    const late = rotation.settingFor('kubelet-client');
    await writeFile(join(directory, 'changed'), '');
    assert.equal(await early, undefined);
    assert.equal((await late)?.key, 'rotateCertificates');
  });
});

describe('readKubelet()', () => {
  const self = { cmdline: 'node\0', mounts: 'mnt:[1]', parent: 1, cgroup: '' };

  it('lets the flags of a running kubelet override its files', async (context) => {
    const directory = await temporaryDirectory(context);
    const configFile = join(directory, 'config.yaml');
    await writeFile(configFile, 'rotateCertificates: false\nserverTLSBootstrap: true\n');
    const proc = await temporaryDirectory(context);
    const flags = ['--rotate-certificates', '--rotate-server-certificates=0', '--tls-cert-file=/a'];
    const cmdline = ['kubelet', `--cert-dir=${directory}`, ...flags, ''].join('\0');
    await fakeProc(proc, { self, 7: { ...self, cmdline } });
    const kubelet = { configFile, certificateDirectory: directory, deferToKubelet: true };
    const file = '/proc/7/cmdline';
    assert.deepEqual(await readKubelet({ kubelet }, { proc }), {
      file: configFile,
      found: true,
      rotateCertificates: { value: true, file, flag: 'rotate-certificates' },
      serverTLSBootstrap: { value: false, file, flag: 'rotate-server-certificates' },
      tlsCertFile: { value: '/a', file, flag: 'tls-cert-file' },
    });
    const rotation = new KubeletRotation({ certificateDirectory: directory, kubelet }, { proc });
    const observed = await rotation.settingFor('kubelet-client');
    assert.deepEqual(observed, { file, key: '--rotate-certificates' });
    assert.equal(await rotation.settingFor('kubelet-server'), undefined);
  });

  it('reads the flags of a stopped kubelet from its service', async (context) => {
    const directory = await temporaryDirectory(context);
    const exec = `/usr/bin/kubelet --cert-dir=${directory} --rotate-certificates`;
    const systemctl = await fakeSystemctl(context, shownUnit({ exec }));
    const proc = await temporaryDirectory(context);
    await fakeProc(proc, { self });
    const kubelet = {
      configFile: join(directory, 'none.yaml'),
      certificateDirectory: directory,
      deferToKubelet: true,
    };
    const config = { certificateDirectory: directory, kubelet };
    const rotation = new KubeletRotation(config, { proc, systemctl });
    const observed = await rotation.settingFor('kubelet-client');
    assert.deepEqual(observed, { file: 'kubelet.service', key: '--rotate-certificates' });
  });

  it('ignores the flags of a kubelet with another certificate directory', async (context) => {
    const directory = await temporaryDirectory(context);
    const proc = await temporaryDirectory(context);
    const cmdline = 'kubelet\0--cert-dir=/srv/pki\0--rotate-certificates\0';
    await fakeProc(proc, { self, 7: { ...self, cmdline } });
    const kubelet = {
      configFile: join(directory, 'none.yaml'),
      certificateDirectory: directory,
      deferToKubelet: true,
    };
    assert.equal((await readKubelet({ kubelet }, { proc })).found, false);
  });
});

/** A certificate directory that the agent shares with a kubelet that has this configuration. */
async function managedDirectory(context: TestContext, text: string) {
  const directory = await temporaryDirectory(context);
  const configFile = join(directory, 'config.yaml');
  await writeFile(configFile, text);
  const kubelet = { configFile, certificateDirectory: directory, deferToKubelet: true };
  return { directory, config: { certificateDirectory: directory, kubelet } };
}

async function noProcesses(context: TestContext): Promise<string> {
  const proc = await temporaryDirectory(context);
  await fakeProc(proc, {});
  return proc;
}

/** Runs these commands for every `systemctl show`, and knows no unit. */
async function systemctlScript(directory: string, commands: string): Promise<string> {
  const systemctl = join(directory, 'systemctl');
  const script = `#!/bin/sh\n${commands}\necho LoadState=not-found\n`;
  await writeFile(systemctl, script, { mode: 0o755 });
  return systemctl;
}
