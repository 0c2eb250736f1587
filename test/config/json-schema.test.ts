import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parseDocument, visit } from 'yaml';
import { loadConfig } from '../../src/config/load.ts';
import { jsonSchemaFile, renderJsonSchema } from '../../scripts/json-schema.ts';

const sample = fileURLToPath(new URL('../../config/config.yaml', import.meta.url));
const environment = { hostName: 'worker-1', workingDirectory: '/' };

describe('config.schema.json', () => {
  it('matches src/config/schema.ts', async () => {
    assert.equal(
      await readFile(jsonSchemaFile, 'utf8'),
      renderJsonSchema(),
      'run: node scripts/write-json-schema.ts',
    );
  });

  it('refuses unknown keys in every map', async () => {
    const document = parseDocument(await readFile(jsonSchemaFile, 'utf8'));
    let maps = 0;
    visit(document, {
      Map: (_, map) => {
        if (map.get('type') !== 'object') return;
        maps += 1;
        assert.equal(map.get('additionalProperties'), false);
      },
    });
    assert.ok(maps > 8, `${maps} maps`);
  });
});

describe('config.yaml', () => {
  it('is a valid configuration without warnings', async () => {
    const config = await loadConfig({ file: sample, flags: {}, environment });
    assert.deepEqual(config.warnings, []);
    assert.deepEqual(
      config.certificates.map(({ name }) => name),
      ['kubelet-client', 'kubelet-server'],
    );
  });

  it('contains only valid values and existing keys in its comments', async () => {
    const text = await readFile(sample, 'utf8');
    const { mkdtemp, rm, writeFile } = await import('node:fs/promises');
    const { tmpdir } = await import('node:os');
    const directory = await mkdtemp(`${tmpdir()}/nodecertd-sample-`);
    try {
      const file = `${directory}/config.yaml`;
      // Lines of the form `# key:` or `# - name:` are examples; other comments are prose.
      await writeFile(
        file,
        text.replace(/^(\s*)# (\s*(?:- )?[a-zA-Z]+:(?: |$))(?!.*:$)/gm, '$1$2'),
      );
      const config = await loadConfig({ file, flags: {}, environment });
      assert.equal(config.certificates.length, 3);
      assert.equal(config.certificates[2]?.signerName, 'example.com/serving');
      assert.equal(config.certificates[1]?.static.ipAddresses[0], '192.0.2.10');
      const hooks = config.certificates[2]?.onRotate?.map(({ kind }) => kind);
      assert.deepEqual(hooks, ['command', 'systemctl', 'signal']);
      assert.equal(config.certificates[2]?.served?.endpoints.length, 3);
    } finally {
      await rm(directory, { recursive: true });
    }
  });
});
