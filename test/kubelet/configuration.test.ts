import assert from 'node:assert/strict';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { readKubeletConfig } from '../../src/kubelet/configuration.ts';
import { agentConfig } from '../keeper/fixtures.ts';
import { temporaryDirectory } from '../store/pairs.ts';

const head = 'apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n';

describe('readKubeletConfig()', () => {
  it('merges drop-ins in lexical order, and names the file of each setting', async (context) => {
    const directory = await temporaryDirectory(context);
    const configFile = join(directory, 'config.yaml');
    const configDirectory = join(directory, 'kubelet.d');
    await mkdir(join(configDirectory, 'b'), { recursive: true });
    const at = (name: string): string => join(configDirectory, name);
    await writeFile(configFile, `${head}rotateCertificates: true\ntlsCertFile: /a.pem\n`);
    await writeFile(at('10-off.conf'), `${head}rotateCertificates: false\n`);
    await writeFile(at('20-on.conf'), '{"rotateCertificates": true, "serverTLSBootstrap": null}');
    await writeFile(at('90-not-read.yaml'), `${head}rotateCertificates: false\n`);
    await writeFile(at('b/nested.conf'), `${head}serverTLSBootstrap: true\n`);
    const config = { ...agentConfig(directory), kubelet: { configFile, configDirectory } };
    assert.deepEqual(await readKubeletConfig(config), {
      file: configFile,
      found: true,
      rotateCertificates: { value: true, file: at('20-on.conf') },
      serverTLSBootstrap: { value: true, file: at('b/nested.conf') },
      tlsCertFile: { value: '/a.pem', file: configFile },
    });
  });

  it('sorts folders among the files, and removes a setting with null', async (context) => {
    const directory = await temporaryDirectory(context);
    const configDirectory = join(directory, 'kubelet.d');
    await mkdir(join(configDirectory, 'a'), { recursive: true });
    const at = (name: string): string => join(configDirectory, name);
    await writeFile(at('a/x.conf'), `${head}tlsCertFile: /first.pem\nserverTLSBootstrap: true\n`);
    await writeFile(at('a.conf'), `${head}tlsCertFile: /second.pem\nserverTLSBootstrap: null\n`);
    const configFile = join(directory, 'config.yaml');
    await writeFile(configFile, `${head}rotateCertificates: yes\nserverTLSBootstrap: on\n`);
    const kubelet = { configFile, configDirectory };
    assert.deepEqual(await readKubeletConfig({ ...agentConfig(directory), kubelet }), {
      file: configFile,
      found: true,
      rotateCertificates: { value: true, file: configFile },
      tlsCertFile: { value: '/second.pem', file: at('a.conf') },
    });
  });

  it('does not follow a link at --config-dir unless the path ends in a slash', async (context) => {
    const directory = await temporaryDirectory(context);
    await mkdir(join(directory, 'real.d'));
    await writeFile(join(directory, 'real.d/1.conf'), `${head}rotateCertificates: true\n`);
    const link = join(directory, 'kubelet.d');
    await symlink('real.d', link);
    const found = async (configDirectory: string): Promise<boolean> => {
      const kubelet = { configFile: join(directory, 'none.yaml'), configDirectory };
      return (await readKubeletConfig({ ...agentConfig(directory), kubelet })).found;
    };
    assert.deepEqual([await found(link), await found(`${link}/`)], [false, true]);
  });

  it('finds no kubelet without a file and a folder', async (context) => {
    const directory = await temporaryDirectory(context);
    const kubelet = { configFile: `${directory}/no.yaml`, configDirectory: `${directory}/no.d` };
    const facts = await readKubeletConfig({ kubelet });
    assert.deepEqual(facts, { file: kubelet.configFile, found: false });
  });

  for (const [name, content, why] of [
    ['broken YAML', 'a: [1', /: Flow sequence in block collection must be .* end with a \]$/],
    ['a text', 'rotateCertificates', /: the document must be Object$/],
    ['a wrong type', 'rotateCertificates: sometimes', /: rotateCertificates must be boolean$/],
    ['an empty file', '', / is empty$/],
    ['a possible secret', `a: *${'Zm9vYmFy'.repeat(9)}`, /(?<!Zm9v.*)$/],
    ['an escape sequence', 'a: *\u001B[31mred', /^[\x20-\x7E]*$/],
  ] as const) {
    it(`refuses ${name}, and names the file`, async (context) => {
      const config = agentConfig(await temporaryDirectory(context));
      await writeFile(config.kubelet.configFile, content);
      await assert.rejects(readKubeletConfig(config), {
        code: 'CONFIG_INVALID',
        message: why,
      });
    });
  }
});
