import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { blockText } from '../../../src/cli/ca-rollover-plan.ts';
import type { PlanStep } from '../../../src/trust/cluster/plan.ts';
import { abortPlan, rolloverPlan } from '../../../src/trust/cluster/plan.ts';
import { read } from '../../docs/pages.ts';

const facts = {
  controlPlanes: ['cp1', 'cp2'],
  clusterName: 'kubernetes',
  certificates: '/etc/kubernetes/pki',
  commonName: 'kubernetes 2026-11',
  keyType: 'rsa',
} as const;

function nodesOf({ blocks }: PlanStep): string[] {
  return blocks.map(({ node }) => node);
}

describe('rolloverPlan()', () => {
  it('does each step on every node in its order, and shared objects on the last', () => {
    assert.deepEqual(
      rolloverPlan(facts).map((step) => [step.id, ...nodesOf(step)]),
      [
        ['create', 'cp1'],
        ['trust', 'cp1', 'cp2', 'cp2'],
        ['union', 'cp1'],
        ['switch', 'cp1', 'cp2'],
        ['droppable', 'cp1'],
        ['finish', 'cp1', 'cp2', 'cp2'],
      ],
    );
  });

  it('copies nothing in a cluster with one control-plane node', () => {
    const [create] = rolloverPlan({ ...facts, controlPlanes: ['cp1'] });
    const commands = create?.blocks.flatMap((block) => block.commands) ?? [];
    assert.ok(commands.every((command) => !command.startsWith('scp')));
  });

  it('is what docs/ca-rollover.md shows', async () => {
    const page = await read('docs/ca-rollover.md');
    for (const { id, blocks } of rolloverPlan(facts)) {
      for (const { commands } of blocks) {
        assert.ok(page.includes(`\`\`\`sh\n${blockText(commands)}\n\`\`\``), id);
      }
    }
  });
});

describe('rolloverPlan() and abortPlan()', () => {
  it('have no command whose failure `set -e` ignores', () => {
    for (const { blocks } of [...rolloverPlan(facts), ...abortPlan(facts)]) {
      for (const command of blocks.flatMap((block) => block.commands)) {
        assert.doesNotMatch(command, /&&|\|\|/);
      }
    }
  });
});

describe('abortPlan()', () => {
  it('issues from the old CA again before it removes the new CA', () => {
    assert.deepEqual(
      abortPlan(facts).map((step) => [step.id, ...nodesOf(step)]),
      [
        ['switch-back', 'cp1', 'cp2'],
        ['reissued', 'cp1'],
        ['distrust', 'cp1', 'cp2', 'cp2'],
      ],
    );
  });
});
