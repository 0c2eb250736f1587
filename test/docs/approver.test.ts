import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { checks } from '../../src/approver/checks/all-checks.ts';
import { decisionCodes, outcomes } from '../../src/approver/decision.ts';
import { exitCodes as checkExitCodes } from '../../src/cli/approver-check.ts';
import { exitCodes as explainExitCodes } from '../../src/cli/approver-explain.ts';
import { parseApproverPolicy, policySchema } from '../../src/config/approver-policy.ts';
import { parseNodeInventory } from '../../src/config/node-inventory.ts';
import { eventKinds } from '../../src/approver/event-recorder.ts';
import { everyApproverMetric } from '../metrics/every-approver-metric.ts';
import { labelsOf, scrape } from '../metrics/exposition.ts';
import { plain, read, section, tableRows } from './pages.ts';

const text = await read('docs/approver.md');

function rowsOf(heading: string): string[][] {
  const rows = tableRows(section(text, heading)).map((row) => row.map(plain));
  for (const row of rows) assert.ok(row.every(Boolean), `${row[0]}: an empty cell`);
  return rows;
}

function yamlOf(heading: string): string {
  return /```yaml\n(.*?)```/s.exec(section(text, heading))?.[1] ?? '';
}

describe('approver.md', () => {
  it('explains every code, with its checks and in the order of the program', () => {
    const documented = rowsOf('Checks').map(([code = '', ids = '']) => [code, ids.split(', ')]);
    const codes = decisionCodes.filter((code) => code !== 'ServingPolicyPassed');
    const expected = codes.map((code) => [
      code,
      checks.filter((check) => check.codes.includes(code)).map(({ id }) => id),
    ]);
    assert.deepEqual(documented, expected);
  });

  it('explains every outcome', () => {
    assert.deepEqual(
      rowsOf('Outcomes').map(([outcome]) => outcome),
      outcomes,
    );
  });

  it('explains every key of the policy', () => {
    const documented = rowsOf('Policy file').map(([key]) => key);
    assert.deepEqual(documented, Object.keys(policySchema.entries));
  });

  it('explains every exit code', () => {
    assert.deepEqual(
      rowsOf('explain').map(([code]) => code),
      Object.keys(explainExitCodes),
    );
    assert.deepEqual(
      rowsOf('check').map(([code]) => code),
      Object.keys(checkExitCodes),
    );
  });

  it('explains every Event', () => {
    const documented = rowsOf('Events').map(([reason, type]) => [reason, type]);
    const expected = Object.values(eventKinds).map(({ reason, type }) => [reason, type]);
    assert.deepEqual(documented, expected);
  });

  it('explains every metric, with its type and its labels', async () => {
    const exposition = await scrape(everyApproverMetric());
    const labels = labelsOf(exposition);
    const documented = rowsOf('Metrics').map(([name, type, names]) => [name, type, names]);
    const expected = [...exposition.types].map(([name, type]) => [
      name,
      type,
      labels.get(name) || '–',
    ]);
    assert.deepEqual(documented, expected);
  });

  it('has a valid policy for a migration', () => {
    const policy = parseApproverPolicy(yamlOf('Migrate from kubelet-csr-approver'), 'policy.yaml');
    assert.equal(policy.mode, 'approve-only');
    assert.equal(policy.allowedCidrs?.length, 2);
  });

  it('has a valid policy and a valid inventory', () => {
    const policy = parseApproverPolicy(yamlOf('Policy file'), '/etc/nodecertd/policy.yaml');
    assert.equal(policy.allowedCidrs?.length, 2);
    assert.equal(parseNodeInventory(yamlOf('Sources'), 'nodes.yaml').nodes.size, 2);
  });
});
