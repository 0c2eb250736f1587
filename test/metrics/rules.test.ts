import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { parse } from 'yaml';
import { logEvents } from '../../src/core/log-events.ts';
import { inventoryStates } from '../../src/pki/inventory/judge.ts';
import { findProgram, skipWithout } from '../support/programs.ts';
import { everyApproverMetric } from './every-approver-metric.ts';
import { everyMetric } from './every-metric.ts';
import { scrape } from './exposition.ts';

const run = promisify(execFile);
const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const rulesFile = here('../../config/prometheus-rules.yaml');
const unitTests = [
  'certificates',
  'hooks',
  'inventory',
  'pki',
  'trust',
  'trust-days',
  'agent',
  'approver',
].map((name) => here(`rules/${name}.test.yaml`));

const skip = skipWithout('promtool');
const promtool = findProgram('promtool') ?? 'promtool';

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly for?: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

interface UnitTest {
  readonly alert_rule_test: readonly {
    readonly alertname: string;
    readonly exp_alerts: readonly unknown[];
  }[];
}

async function readYaml(path: string): Promise<unknown> {
  return parse(await readFile(path, 'utf8'));
}

const { groups } = (await readYaml(rulesFile)) as { groups: readonly { rules: readonly Rule[] }[] };
const rules = groups.flatMap((group) => group.rules);

describe('config/prometheus-rules.yaml', () => {
  it('passes promtool check rules', { skip }, async () => {
    const { stdout } = await run(promtool, ['check', 'rules', rulesFile]);
    assert.match(stdout, new RegExp(`SUCCESS: ${rules.length} rules found`));
  });

  it('passes its unit tests', { skip }, async () => {
    await run(promtool, ['test', 'rules', ...unitTests]);
  });

  it('has a unit test in which each alert fires and one in which it does not', async () => {
    const files = (await Promise.all(unitTests.map(readYaml))) as { tests: readonly UnitTest[] }[];
    const cases = files.flatMap(({ tests }) => tests.flatMap((one) => one.alert_rule_test));
    for (const { alert } of rules) {
      const own = cases.filter(({ alertname }) => alertname === alert);
      assert.ok(
        own.some(({ exp_alerts }) => exp_alerts.length > 0),
        `${alert} never fires`,
      );
      assert.ok(
        own.some(({ exp_alerts }) => exp_alerts.length === 0),
        `${alert} always fires`,
      );
    }
  });

  it('uses only metrics that exist', async () => {
    const ofAgent = (await scrape(everyMetric())).types;
    const ofApprover = (await scrape(everyApproverMetric())).types;
    for (const { alert, expr } of rules) {
      const types = alert.startsWith('NodecertdApprover') ? ofApprover : ofAgent;
      for (const [name] of expr.matchAll(/nodecertd_\w+/g)) {
        assert.ok(types.has(name), `${alert}: ${name}`);
      }
    }
  });

  it('has every state of the inventory that needs attention now', () => {
    const { expr = '' } = rules.find(({ alert }) => alert === 'NodecertdInventoryProblem') ?? {};
    const [, states = ''] = /state=~"(.*?)"/.exec(expr) ?? [];
    const urgent = Object.entries(inventoryStates).filter(([, code]) => code === 4);
    assert.deepEqual(
      states.split('|'),
      urgent.map(([state]) => state),
    );
  });

  for (const { alert, for: patience, labels, annotations } of rules) {
    it(`${alert} has a severity, texts, and a remedy`, () => {
      assert.ok(patience);
      assert.ok(['warning', 'critical'].includes(labels['severity'] ?? ''));
      for (const key of ['summary', 'description', 'remedy']) assert.ok(annotations[key], key);
      assert.match(annotations['summary'] ?? '', /\{\{ \$labels\.(?:instance|job) \}\}/);
    });
  }

  it('greps only for messages that the agent logs', () => {
    const messages = Object.values(logEvents).map(({ message }) => message);
    const patterns = rules.flatMap(
      ({ annotations }) => /--grep '(.+?)'/.exec(annotations['remedy'] ?? '')?.[1] ?? [],
    );
    assert.ok(patterns.length > 0);
    for (const pattern of patterns) {
      // Like journalctl: a pattern without capitals ignores case.
      const flags = pattern === pattern.toLowerCase() ? 'i' : '';
      const found = messages.filter((message) => new RegExp(pattern, flags).test(message));
      assert.ok(found.length > 0, pattern);
    }
  });
});

describe('the exposition', () => {
  it('passes promtool check metrics', { skip }, async () => {
    const child = execFile(promtool, ['check', 'metrics']);
    assert.ok(child.stdin && child.stderr);
    child.stdin.end(await everyMetric().render());
    const [complaints, [code]] = await Promise.all([text(child.stderr), once(child, 'exit')]);
    // Two of the kubelet's counters predate the naming rule; ours follow it.
    assert.deepEqual(complaints.trim().split('\n'), [
      'kubelet_certificate_manager_client_expiration_renew_errors counter metrics should have "_total" suffix',
      'kubelet_server_expiration_renew_errors counter metrics should have "_total" suffix',
    ]);
    assert.equal(code, 3);
  });
});
