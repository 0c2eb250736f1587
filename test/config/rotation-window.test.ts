import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { TestContext } from 'node:test';
import { loadConfig } from '../../src/config/load.ts';
import { describeError } from '../../src/core/errors.ts';
import type { RotationWindow } from '../../src/core/schedule.ts';
import { temporaryDirectory } from '../store/pairs.ts';

const head = 'apiVersion: nodecertd.io/v1alpha1\nkind: AgentConfiguration\n';

/** The windows of the kubelet's two certificates; the second one may have its own. */
function twoCertificates({ all = '', second = '' }): string {
  const server = `{ name: kubelet-server, profile: kubelet-serving${second && `, ${second}`} }`;
  const client = '{ name: kubelet-client, profile: kubelet-client }';
  return `${head}${all}\ncertificates:\n  - ${client}\n  - ${server}\n`;
}

async function windowsOf(context: TestContext, text: string): Promise<RotationWindow[]> {
  const file = join(await temporaryDirectory(context), 'config.yaml');
  await writeFile(file, text);
  const environment = { hostName: 'worker-1', workingDirectory: '/' };
  const { certificates } = await loadConfig({ file, flags: {}, environment });
  return certificates.map(({ rotationWindow }) => rotationWindow);
}

/** The message of the error without the folder of the file. */
async function problemOf(context: TestContext, text: string): Promise<string> {
  try {
    await windowsOf(context, text);
  } catch (error) {
    return describeError(error).replaceAll(/\S*\/config\.yaml/g, 'config.yaml');
  }
  return 'none';
}

describe('loadConfig() on rotation windows', () => {
  const usual = { from: 0.7, to: 0.9 };
  const early = { from: 0.1, to: 0.11 };
  const late = { from: 0.94, to: 0.95 };
  const accepted: readonly (readonly [string, string, readonly RotationWindow[]])[] = [
    ['70% to 90% by default', twoCertificates({}), [usual, usual]],
    [
      'one for all certificates',
      twoCertificates({ all: 'rotation: { from: 10%, to: 11% }' }),
      [early, early],
    ],
    [
      'one for a certificate',
      twoCertificates({ second: 'rotation: { from: 94%, to: 95% }' }),
      [usual, late],
    ],
    [
      'one for a certificate instead of the one for all',
      twoCertificates({
        all: 'rotation: { from: 10%, to: 11% }',
        second: 'rotation: { from: 94%, to: 95% }',
      }),
      [early, late],
    ],
    [
      'one with decimals',
      twoCertificates({ all: 'rotation: { from: 33.3%, to: 66.7% }' }),
      [
        { from: 0.333, to: 0.667 },
        { from: 0.333, to: 0.667 },
      ],
    ],
  ];
  for (const [name, text, expected] of accepted) {
    it(`reads ${name}`, async (context) => {
      assert.deepEqual(await windowsOf(context, text), expected);
    });
  }

  const above = 'expected a percentage below rotation.to';
  const refused: readonly (readonly [string, string, string])[] = [
    [
      'an early start',
      'from: 9.9%, to: 90%',
      'from: expected at least 10%, to spare the API server and the signer, found "9.9%"',
    ],
    [
      'a late end',
      'from: 70%, to: 95.1%',
      'to: expected at most 95%, to leave time for retries before the expiry, found "95.1%"',
    ],
    ['an empty window', 'from: 70%, to: 70%', `from: ${above}, 70%, found "70%"`],
    ['a reversed window', 'from: 90%, to: 70%', `from: ${above}, 70%, found "90%"`],
    ['a fraction', 'from: 0.7, to: 90%', 'from: expected a percentage such as 70%, found 0.7'],
    ['a bare number', 'from: 70, to: 90%', 'from: expected a percentage such as 70%, found 70'],
    ['other text', 'from: 70%, to: most', 'to: expected a percentage such as 70%, found "most"'],
    ['one end', 'from: 50%', 'to: is required'],
  ];
  for (const [name, keys, expected] of refused) {
    it(`refuses ${name} for all, and names the place`, async (context) => {
      const problem = await problemOf(context, twoCertificates({ all: `rotation: { ${keys} }` }));
      assert.match(problem, new RegExp(String.raw`^(CONFIG_INVALID: )?config\.yaml:3: rotation\.`));
      assert.ok(problem.includes(`rotation.${expected}`), problem);
    });

    it(`refuses ${name} for a certificate, and names the place`, async (context) => {
      const text = twoCertificates({ second: `rotation: { ${keys} }` });
      const problem = await problemOf(context, text);
      assert.ok(problem.includes(`config.yaml:6: certificates[1].rotation.${expected}`), problem);
    });
  }

  it('reports a wrong window beside other problems', async (context) => {
    const text = `${head}rotation: { from: 90%, to: 80% }\naddressRefresh: 1s\n`;
    const problem = await problemOf(context, text);
    assert.match(problem, /config\.yaml:3: rotation\.from: expected a percentage below/);
    assert.match(problem, /config\.yaml:4: addressRefresh: /);
  });
});
