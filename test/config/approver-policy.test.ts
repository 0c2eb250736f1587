import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { loadApproverPolicy, parseApproverPolicy } from '../../src/config/approver-policy.ts';
import { defaultApproverPolicy } from '../../src/core/approver-policy.ts';
import { formatCidr } from '../../src/core/cidr.ts';
import { hasCode } from '../../src/core/errors.ts';

const head = 'apiVersion: nodecertd.io/v1alpha1\nkind: ApproverPolicy\n';

function parse(text: string) {
  return parseApproverPolicy(head + text, '/etc/nodecertd/policy.yaml');
}

describe('parseApproverPolicy()', () => {
  it('fills in the defaults', () => assert.deepEqual(parse(''), defaultApproverPolicy));

  it('reads every key', () => {
    const policy = parse(
      [
        'mode: approve-only',
        'mismatchGrace: 2m',
        'allowedCIDRs: [10.0.0.0/8, "fd00::/8"]',
        'deniedCIDRs: [10.1.0.0/16]',
        'allowedDomains: [Example.com.]',
        'protectedNames: [API.example.com]',
        'serviceCIDRs: [10.96.0.0/12]',
        'podCIDRs: [10.244.0.0/16]',
        'match: exact',
        'maxExpirationSeconds: 86400',
        'foreignRequestors: deny',
        'allowLinkLocal: true',
        'maxDecisionsPerSecond: 0',
        'sources: {inventory: {file: nodes.yaml}, machine: {kubeconfig: /etc/management.conf}}',
      ].join('\n'),
    );
    const { allowedCidrs = [], deniedCidrs, serviceCidrs, podCidrs = [], ...rest } = policy;
    assert.deepEqual(allowedCidrs.map(formatCidr), ['10.0.0.0/8', 'fd00::/8']);
    assert.deepEqual(deniedCidrs.map(formatCidr), ['10.1.0.0/16']);
    assert.deepEqual(serviceCidrs.map(formatCidr), ['10.96.0.0/12']);
    assert.deepEqual(podCidrs.map(formatCidr), ['10.244.0.0/16']);
    assert.deepEqual(rest, {
      mode: 'approve-only',
      mismatchGrace: 120_000,
      allowedDomains: ['example.com'],
      protectedNames: ['api.example.com'],
      match: 'exact',
      maxExpirationSeconds: 86_400,
      foreignRequestors: 'deny',
      allowLinkLocal: true,
      maxDecisionsPerSecond: 0,
      sources: {
        inventory: { file: '/etc/nodecertd/nodes.yaml' },
        machine: { kubeconfig: '/etc/management.conf' },
      },
    });
  });

  it('reads JSON', () => {
    const text = JSON.stringify({
      apiVersion: 'nodecertd.io/v1alpha1',
      kind: 'ApproverPolicy',
      mode: 'observe',
      sources: { machine: {} },
    });
    const policy = parseApproverPolicy(text, 'policy.json');
    assert.deepEqual([policy.mode, policy.sources], ['observe', { machine: {} }]);
  });

  const problems: readonly (readonly [string, RegExp])[] = [
    [
      'mode: enforcing',
      /policy\.yaml:3: mode: expected one of enforce, .*mean "enforce".*found "enforcing"/,
    ],
    ['modes: enforce', /:3: modes: unknown key; did you mean "mode"/],
    ['allowedCIDRs: [10.0.0.0]', /:3: allowedCIDRs\[0\]: expected a range .* found "10\.0\.0\.0"/],
    [
      'allowedCIDRs:\n- 10.0.0.0/8\n- 10.1.2.3/16',
      /:5: allowedCIDRs\[1\]: expected 10\.1\.0\.0\/16/,
    ],
    ['allowedCIDRs: []', /allowedCIDRs: expected at least one entry; remove the key/],
    ['allowedDomains: []', /allowedDomains: expected at least one entry/],
    ['allowedDomains: ["*.example.com"]', /allowedDomains\[0\]: expected a domain/],
    ['protectedNames: ["a b"]', /protectedNames\[0\]: expected a DNS name/],
    ['mismatchGrace: 60', /mismatchGrace: expected a string, found 60/],
    ['mismatchGrace: 2h', /mismatchGrace: expected at most 1h/],
    ['maxExpirationSeconds: 599', /maxExpirationSeconds: expected a whole number from 600/],
    ['maxDecisionsPerSecond: -1', /maxDecisionsPerSecond: expected a whole number/],
    ['sources: {inventory: {}}', /sources\.inventory\.file: is required/],
    ['sources: {machines: {}}', /sources\.machines: unknown key; did you mean "machine"/],
    ['mode: enforce\nmode: observe', /the key mode exists twice/],
    ['---\nkind: ApproverPolicy', /expected one YAML document/],
  ];
  for (const [text, message] of problems) {
    it(`rejects ${JSON.stringify(text)}`, () => {
      assert.throws(
        () => parse(text),
        (error) => hasCode(error, 'CONFIG_INVALID') && message.test(error.message),
      );
    });
  }
});

describe('loadApproverPolicy()', () => {
  it('names the flag if there is no such file', async () => {
    await assert.rejects(
      loadApproverPolicy('/no/such/policy.yaml'),
      (error) =>
        hasCode(error, 'CONFIG_UNREADABLE') &&
        error.message === 'the policy /no/such/policy.yaml does not exist' &&
        error.remedy === 'Create the file, or set --policy to its path',
    );
  });

  it('reads a file', async () => {
    const directory = await mkdtemp(join(tmpdir(), 'nodecertd-policy-'));
    const file = join(directory, 'policy.yaml');
    await writeFile(file, `${head}mode: observe\n`);
    assert.equal((await loadApproverPolicy(file)).mode, 'observe');
    await rm(directory, { recursive: true });
  });
});
