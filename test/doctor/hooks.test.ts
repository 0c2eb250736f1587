import assert from 'node:assert/strict';
import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { HookAction, HookSpec } from '../../src/core/hooks.ts';
import type { HookFacts, ProgramFacts } from '../../src/doctor/hooks.ts';
import { hookFindings, inspectHooks } from '../../src/doctor/hooks.ts';
import { agentConfig, clientSpec } from '../keeper/fixtures.ts';
import { temporaryDirectory } from '../store/pairs.ts';
import { summaryOf, textOf } from './findings.ts';

const exposure = { what: '/etc/x has mode 0777', remedy: 'chmod go-w /etc/x' };
const program: ProgramFacts = {
  certificate: 'kubelet-server',
  hook: '/usr/local/bin/deploy',
  path: '/usr/local/bin/deploy',
  state: 'runnable',
};
const healthy: HookFacts = { file: '/etc/nodecertd/config.yaml', programs: [program] };

describe('hookFindings()', () => {
  const rows: readonly (readonly [string, Partial<HookFacts>, readonly string[]])[] = [
    ['hooks that only root can change', {}, ['ok hooks']],
    ['no hooks', { programs: [] }, []],
    ['a writable configuration without hooks', { programs: [], exposure }, []],
    ['a configuration that others can change', { exposure }, ['error hooks-refused']],
    [
      'a program that others can change',
      { programs: [program, { ...program, exposure }] },
      ['error hook-refused'],
    ],
    [
      'a missing program',
      { programs: [{ ...program, state: 'missing' }] },
      ['warning hook-missing'],
    ],
    [
      'a program that is not executable',
      { programs: [{ ...program, state: 'not-executable' }] },
      ['warning hook-missing'],
    ],
    [
      'several problems at once',
      {
        exposure,
        programs: [
          { ...program, exposure },
          { ...program, state: 'missing' },
        ],
      },
      ['error hooks-refused', 'error hook-refused', 'warning hook-missing'],
    ],
  ];
  for (const [name, changes, expected] of rows) {
    it(`finds ${expected.join(' and ') || 'nothing'} for ${name}`, () => {
      const findings = hookFindings({ ...healthy, ...changes });
      assert.deepEqual(summaryOf(findings), expected);
    });
  }

  it('shows the exposure, the reason, and the command', () => {
    const [finding] = hookFindings({ ...healthy, exposure });
    assert.match(finding?.what ?? '', /^hooks are disabled: \/etc\/x has mode 0777$/);
    assert.ok(finding?.why);
    assert.equal(finding?.remedy, 'chmod go-w /etc/x, then: systemctl restart nodecertd');
  });
});

describe('inspectHooks()', () => {
  const limits = { timeoutMs: 1_000, retries: 0 };
  const hook = (action: HookAction): HookSpec => ({ ...action, ...limits });

  it('inspects the configuration and each program, also systemctl', async (t) => {
    const directory = await temporaryDirectory(t);
    const at = (file: string): string => join(directory, file);
    for (const [file, mode] of [
      ['config.yaml', 0o644],
      ['runnable', 0o755],
      ['open', 0o777],
      ['plain', 0o644],
    ] as const) {
      await writeFile(at(file), '#!/bin/sh\n');
      await chmod(at(file), mode);
    }
    const commands = ['runnable', 'open', 'plain', 'missing'].map((file) =>
      hook({ kind: 'command', argv: [at(file), '--now'] }),
    );
    const reload = hook({ kind: 'systemctl', verb: 'reload', unit: 'nginx.service' });
    const spec = { ...clientSpec, onRotate: [...commands, reload] };
    const config = { ...agentConfig(directory, [spec]), file: at('config.yaml') };
    const { file, exposure, programs } = await inspectHooks(config);
    assert.equal(file, at('config.yaml'));
    assert.equal(exposure, undefined);
    const states = programs.map(({ state, exposure }) => [state, exposure !== undefined]);
    // Root can execute a file if any user can.
    assert.deepEqual(states.slice(0, 4), [
      ['runnable', false],
      ['runnable', true],
      ['not-executable', false],
      ['missing', false],
    ]);
    assert.equal(programs[4]?.hook, 'reload nginx.service');
    assert.match(programs[4]?.path ?? '', /\/systemctl$/);

    await chmod(at('config.yaml'), 0o666);
    assert.match((await inspectHooks(config)).exposure?.what ?? '', /config\.yaml has mode 0666/);
  });

  it('finds nothing without configured hooks', async () => {
    assert.deepEqual(textOf(hookFindings(await inspectHooks(agentConfig('/nowhere')))), '');
  });
});
