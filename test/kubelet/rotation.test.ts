import assert from 'node:assert/strict';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { readKubelet, rotatedByKubelet } from '../../src/kubelet/rotation.ts';
import { temporaryDirectory } from '../store/pairs.ts';
import { fakeProc } from '../sys/fake-proc.ts';
import { fakeSystemctl, shownUnit } from '../sys/fake-systemctl.ts';

describe('rotatedByKubelet()', () => {
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
      const directory = await temporaryDirectory(context);
      const configFile = join(directory, 'config.yaml');
      await writeFile(configFile, text);
      const kubelet = { configFile, certificateDirectory: directory, deferToKubelet: true };
      const observed = await rotatedByKubelet({ certificateDirectory: directory, kubelet }, name);
      assert.deepEqual(observed, key === undefined ? undefined : { file: configFile, key });
      const on = {
        certificateDirectory: directory,
        kubelet: { ...kubelet, deferToKubelet: false },
      };
      assert.equal(await rotatedByKubelet(on, name), undefined);
    });
  }

  it('finds none without a kubelet, and for another certificate directory', async (context) => {
    const directory = await temporaryDirectory(context);
    const configFile = join(directory, 'config.yaml');
    const kubelet = { configFile, certificateDirectory: directory, deferToKubelet: true };
    const config = { certificateDirectory: directory, kubelet };
    assert.equal(await rotatedByKubelet(config, 'kubelet-client'), undefined);
    await writeFile(configFile, both);
    const elsewhere = { ...config, certificateDirectory: join(directory, 'own') };
    assert.equal(await rotatedByKubelet(elsewhere, 'kubelet-client'), undefined);
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
    const observed = await rotatedByKubelet({ certificateDirectory, kubelet }, 'kubelet-client');
    assert.equal(observed?.key, 'rotateCertificates');
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
    const config = { certificateDirectory: directory, kubelet };
    assert.deepEqual(await rotatedByKubelet(config, 'kubelet-client', { proc }), {
      file,
      key: '--rotate-certificates',
    });
    assert.equal(await rotatedByKubelet(config, 'kubelet-server', { proc }), undefined);
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
    assert.deepEqual(await rotatedByKubelet(config, 'kubelet-client', { proc, systemctl }), {
      file: 'kubelet.service',
      key: '--rotate-certificates',
    });
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
