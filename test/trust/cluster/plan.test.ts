import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { blockText } from '../../../src/cli/ca-rollover-plan.ts';
import type { PlanStep } from '../../../src/trust/cluster/plan.ts';
import { abortPlan, returnPlan, rolloverPlan } from '../../../src/trust/cluster/plan.ts';
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

describe('rolloverPlan(), abortPlan() and returnPlan()', () => {
  it('have no command whose failure `set -e` ignores', () => {
    const returning = returnPlan(facts, 'cp2');
    for (const { blocks } of [...rolloverPlan(facts), ...abortPlan(facts), ...returning]) {
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
        ['droppable', 'cp1'],
        ['distrust', 'cp1', 'cp2', 'cp2'],
      ],
    );
  });
});

describe('returnPlan()', () => {
  const three = { ...facts, controlPlanes: ['cp1', 'cp2', 'cp3'] };

  it('copies from the node of the leading kube-controller-manager, or from another one', () => {
    const expected = ['cp3', 'cp2', 'cp2', 'cp2', 'cp3'];
    assert.deepEqual(returnPlan(three, 'cp2').flatMap(nodesOf), expected);
    assert.equal(returnPlan(three, 'cp3').flatMap(nodesOf)[0], 'cp2');
  });

  for (const [name, node, controlPlanes] of [
    ['a Node that is no control-plane node', 'worker-1', ['cp1', 'cp2']],
    ['the only control-plane node', 'cp1', ['cp1']],
  ] as const) {
    it(`refuses ${name}`, () => {
      const refused = {
        code: 'USAGE',
        remedy: `Name one of these Nodes: ${controlPlanes.join(', ')}`,
      };
      assert.throws(() => returnPlan({ ...facts, controlPlanes }, node), refused);
    });
  }

  it('is what docs/ca-rollover.md shows', async () => {
    const page = await read('docs/ca-rollover.md');
    const scripts = returnPlan(facts, 'cp2').flatMap(({ blocks }) =>
      blocks.flatMap(({ commands }) => (commands.length > 1 ? [blockText(commands)] : [])),
    );
    assert.equal(scripts.length, 2);
    for (const script of scripts) assert.ok(page.includes(`\`\`\`sh\n${script}\n\`\`\``));
  });
});
