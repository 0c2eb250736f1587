import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { day, hour, minute } from '../../src/core/instant.ts';
import type { AgentStatus } from '../../src/core/status.ts';
import { AgentMetrics } from '../../src/metrics/agent-metrics.ts';
import { answerOfApprover } from '../../src/metrics/approver-routes.ts';
import type { Health } from '../../src/metrics/health.ts';
import { startMetricsServer, startPageServer } from '../../src/metrics/server.ts';
import { skipWithout } from '../support/programs.ts';
import { withPrometheus } from '../support/prometheus.ts';
import { countEveryDecision, everyApproverMetric, leaderStatus } from './every-approver-metric.ts';
import { countEverything, everyMetric, everyPki, everyTrust, inventory } from './every-metric.ts';
import { scrape } from './exposition.ts';
import { agent, client, facts, followed, server } from './fixtures.ts';

const config = new URL('../../config/', import.meta.url);
const rules = fileURLToPath(new URL('prometheus-rules.yaml', config));
const dashboard = JSON.parse(
  await readFile(new URL('grafana-dashboard.json', config), 'utf8'),
) as Dashboard;

interface Dashboard {
  readonly panels: readonly Panel[];
  readonly templating: { readonly list: readonly Variable[] };
}

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly description?: string;
  readonly gridPos: Readonly<Record<'x' | 'y' | 'w' | 'h', number>>;
  readonly targets?: readonly { readonly expr: string }[];
}

interface Variable {
  readonly name: string;
  /** Of a data source: its type. */
  readonly query: string | { readonly query: string };
}

interface Query {
  readonly title: string;
  readonly expression: string;
}

const panels = dashboard.panels.filter(({ type }) => type !== 'row');

const queries: readonly Query[] = [
  ...panels.flatMap(({ title, targets = [] }) =>
    targets.map(({ expr }) => ({ title, expression: expr })),
  ),
  ...dashboard.templating.list.flatMap(({ name, query }) =>
    typeof query === 'string' ? [] : { title: `$${name}`, expression: labelQuery(query.query) },
  ),
];

/** A PromQL query with the same result as the request for label values that Grafana sends. */
function labelQuery(definition: string): string {
  const { selector, label } =
    /^label_values\((?<selector>.*), (?<label>\w+)\)$/.exec(definition)?.groups ?? {};
  assert.ok(selector !== undefined && label !== undefined, definition);
  return `count by (${label}) (${selector})`;
}

/** Replaces the variables as Grafana does when "All" is selected. */
function filledIn(expression: string): string {
  return expression
    .replaceAll(/\$(?:job|instance|certificate)\b/g, '.+')
    .replaceAll(/\$__(?:rate_interval|range)\b/g, '30s');
}

function liveStatus(): AgentStatus {
  const now = Date.now();
  const current = facts({ notBefore: now - 10 * day, notAfter: now + 30 * day });
  const certificates = [
    client({ current, rotationDeadline: now + 20 * day, ...followed }),
    server({ csr: { name: 'node-csr-abc', uid: 'b0b1', createdAt: now - 2 * hour } }),
  ];
  return agent(certificates, {
    now,
    startedAt: now - hour,
    preflight: [],
    pki: everyPki,
    trustSync: everyTrust,
  });
}

const health = (): Health => ({ lastTick: Date.now() - minute, stuckAt: undefined });

describe('config/grafana-dashboard.json', () => {
  it('names only metrics that the program exports', async () => {
    const exposed = await Promise.all([scrape(everyMetric()), scrape(everyApproverMetric())]);
    const types = new Set(exposed.flatMap((one) => [...one.types.keys()]));
    for (const { title, expression } of queries) {
      const names = expression.match(/\b(?:nodecertd|process|nodejs)_\w+/g) ?? [];
      assert.ok(names.length > 0, `${title}: no metric`);
      for (const name of names) {
        const family = types.has(name) ? name : name.replace(/_(?:bucket|sum|count)$/, '');
        assert.ok(types.has(family), `${title}: ${name}`);
      }
    }
  });

  it('reads every data source from the variable', async () => {
    const text = await readFile(new URL('grafana-dashboard.json', config), 'utf8');
    const ids = new Set(text.match(/(?<="uid": ")[^"]*/g));
    assert.deepEqual([...ids].toSorted(), ['${datasource}', 'nodecertd']);
    assert.doesNotMatch(text, /__inputs|DS_PROMETHEUS/);
  });

  it('has a title and a description for each panel, and no two in one place', () => {
    const cells = new Set<string>();
    for (const { title, description, gridPos } of panels) {
      assert.ok(title && description, title);
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x += 1) {
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y += 1) {
          assert.ok(x < 24 && !cells.has(`${x},${y}`), `${title}: ${x},${y}`);
          cells.add(`${x},${y}`);
        }
      }
    }
    const ids = dashboard.panels.map(({ id }) => id);
    assert.equal(new Set(ids).size, ids.length);
  });

  it(
    'gets an answer from a real Prometheus for each query',
    { skip: skipWithout('prometheus') },
    async () => {
      const metrics = new AgentMetrics({
        status: liveStatus,
        health,
        kubeletNames: () => false,
        inventory: () => inventory,
      });
      const address = { host: '127.0.0.1', port: 0, kubeletNames: false };
      await using running = await startMetricsServer({
        metrics,
        status: liveStatus,
        health,
        config: address,
      });
      const target = running.listening;
      const ofApprover = everyApproverMetric();
      const sources = { metrics: ofApprover, status: () => leaderStatus, host: address.host };
      await using approving = await startPageServer({
        config: address,
        answer: (request) => answerOfApprover(request, sources),
      });
      const approver = `${approving.address.host}:${approving.address.port}`;
      await withPrometheus({ target, approver, rules }, async (prometheus) => {
        for (const { title, expression } of queries) {
          // A counter has to rise between two scrapes before its rate is above zero.
          await prometheus.until(`${title}: ${expression}`, async () => {
            countEverything(metrics);
            countEveryDecision(ofApprover);
            const found = await prometheus.query(filledIn(expression));
            return found.some(({ value }) => Number.isFinite(value)) ? found : undefined;
          });
        }
      });
    },
  );
});
