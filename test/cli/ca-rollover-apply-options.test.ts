import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ApplyOptions } from '../../src/cli/ca-rollover-apply-options.ts';
import { requireUsage } from '../../src/cli/ca-rollover-apply-options.ts';
import { day } from '../../src/core/instant.ts';
import { defaultDirectories } from '../../src/pki/layout.ts';
import type { Step } from '../../src/trust/control-plane/task.ts';

const usual: ApplyOptions = {
  ca: 'kubernetes',
  kubernetesDir: defaultDirectories.kubernetes,
  except: [],
  auditLog: [],
  quiet: 86_400,
  dial: true,
  output: 'table',
};

const faults: readonly (readonly [Step, Partial<ApplyOptions>, RegExp])[] = [
  ['create', { yes: true, dryRun: true }, /^--yes and --dry-run exclude each other$/],
  [
    'create',
    { import: '/mnt/ca', subject: 'new' },
    /^--import excludes --subject, --key and --lifetime$/,
  ],
  [
    'create',
    { import: '/mnt/ca', lifetime: day },
    /^--import excludes --subject, --key and --lifetime$/,
  ],
  [
    'trust',
    { lifetime: day },
    /^--subject, --key, --lifetime and --import are only for the step create, and --import also for switch --ca etcd$/,
  ],
  [
    'create',
    { undo: true, subject: 'new' },
    /^--undo excludes --subject, --key, --lifetime and --import$/,
  ],
  [
    'trust',
    { key: 'rsa-2048' },
    /^--subject, --key, --lifetime and --import are only for the step create, and --import also for switch --ca etcd$/,
  ],
  [
    'switch',
    { import: '/mnt/ca' },
    /^--subject, --key, --lifetime and --import are only for the step create, and --import also for switch --ca etcd$/,
  ],
  ['finish', {}, /^the step finish needs --old-key keep or --old-key destroy$/],
  [
    'finish',
    { undo: true, oldKey: 'keep' },
    /^--old-key is only for the step finish without --undo$/,
  ],
  ['abort', { undo: true }, /^abort cannot be undone; continue with trust or switch$/],
  [
    'trust',
    { keepAbsentNodes: true },
    /^--keep-absent-nodes is only for the step finish with --ca kubernetes and without --undo$/,
  ],
  [
    'finish',
    { keepAbsentNodes: true, oldKey: 'keep' },
    /^--keep-absent-nodes needs --old-key destroy$/,
  ],
  ['trust', { oldKey: 'destroy' }, /^--old-key is only for the step finish without --undo$/],
  ['trust', { acceptEtcdInterruption: true }, /^--accept-etcd-interruption is only for --ca etcd$/],
];

const allowed: readonly (readonly [Step, Partial<ApplyOptions>])[] = [
  ['create', { subject: 'new', yes: true }],
  ['trust', { undo: true }],
  ['trust', { ca: 'etcd', acceptEtcdInterruption: true }],
  ['switch', { ca: 'etcd', import: '/mnt/etcd' }],
  ['finish', { dryRun: true }],
  ['finish', { oldKey: 'destroy' }],
  ['finish', { oldKey: 'destroy', keepAbsentNodes: true }],
  ['finish', { undo: true }],
  ['abort', { yes: true }],
  ['abort', { ca: 'etcd', acceptEtcdInterruption: true }],
];

describe('requireUsage()', () => {
  for (const [step, options, message] of faults) {
    it(`refuses ${step} with ${Object.keys(options).join(' and ') || 'no option'}`, () => {
      assert.throws(() => requireUsage(step, { ...usual, ...options }), { code: 'USAGE', message });
    });
  }

  for (const [step, options] of allowed) {
    it(`allows ${step} with ${Object.keys(options).join(' and ')}`, () => {
      requireUsage(step, { ...usual, ...options });
    });
  }
});
