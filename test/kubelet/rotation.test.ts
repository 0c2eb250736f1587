import assert from 'node:assert/strict';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { rotatedByKubelet } from '../../src/kubelet/rotation.ts';
import { temporaryDirectory } from '../store/pairs.ts';

describe('rotatedByKubelet()', () => {
  const both = 'rotateCertificates: true\nserverTLSBootstrap: true\n';
  const cases: readonly (readonly [string, string, string, string | undefined])[] = [
    ['the client pair', 'kubelet-client', both, 'rotateCertificates'],
    ['the serving pair', 'kubelet-server', both, 'serverTLSBootstrap'],
    ['a pair of another name', 'node-exporter', both, undefined],
    ['one whose manager is off', 'kubelet-client', 'rotateCertificates: false', undefined],
    ['one of which nothing is said', 'kubelet-server', 'rotateCertificates: true', undefined],
    ['anything by a broken configuration', 'kubelet-client', 'rotateCertificates: [', undefined],
  ];
  for (const [what, name, text, key] of cases) {
    it(`is ${key === undefined ? 'none' : key} for ${what}`, async (context) => {
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

  it('is none without a kubelet, and for a directory of its own', async (context) => {
    const directory = await temporaryDirectory(context);
    const configFile = join(directory, 'config.yaml');
    const kubelet = { configFile, certificateDirectory: directory, deferToKubelet: true };
    const config = { certificateDirectory: directory, kubelet };
    assert.equal(await rotatedByKubelet(config, 'kubelet-client'), undefined);
    await writeFile(configFile, both);
    const elsewhere = { ...config, certificateDirectory: join(directory, 'own') };
    assert.equal(await rotatedByKubelet(elsewhere, 'kubelet-client'), undefined);
  });

  it('knows the directory under any name', async (context) => {
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
