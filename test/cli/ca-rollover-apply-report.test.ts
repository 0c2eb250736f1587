import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { StepReport } from '../../src/cli/ca-rollover-apply-report.ts';
import { stepDocument, stepExitCode, stepTable } from '../../src/cli/ca-rollover-apply-report.ts';
import type { StepPlan } from '../../src/trust/control-plane/step-plan.ts';
import type { StepTask } from '../../src/trust/control-plane/task.ts';

const files: StepTask = {
  kind: 'files',
  name: 'new CA',
  files: [
    { path: '/etc/kubernetes/pki/ca-next.key', content: 'a new key (RSA 2048)' },
    { path: '/etc/kubernetes/pki/ca-next.crt', content: 'a new CA (CN=kubernetes 2026-11)' },
  ],
  make: () => assert.fail('the report makes no key'),
};
const scheduler: StepTask = {
  ...files,
  name: 'scheduler.conf',
  files: [{ path: '/etc/kubernetes/scheduler.conf', content: 'both CAs' }],
  restart: { component: 'kube-scheduler', reads: [] },
};
const annotation: StepTask = {
  kind: 'cluster',
  name: 'annotation of the Node cp1',
  content: 'the CAs of this node',
  isDone: false,
  run: () => assert.fail('the report runs no task'),
};

function planOf(changes: Partial<StepPlan> = {}): StepPlan {
  return {
    step: 'create',
    nodeName: 'cp1',
    tasks: [files, scheduler, annotation],
    restarts: ['kube-scheduler'],
    gates: [],
    refusals: [],
    notes: ['The old CA expires soon.'],
    commands: ['scp -p ca-next.crt cp2:'],
    ...changes,
  };
}

const plan = planOf();
const complete = planOf({
  tasks: [
    { ...files, files: [] },
    { ...annotation, isDone: true },
  ],
  restarts: [],
});
const refused = planOf({
  refusals: [
    { state: 'waiting', message: 'nodes are behind', remedy: 'Wait', objects: ['worker-1'] },
  ],
});
const harmful = planOf({ refusals: [{ state: 'harmful', message: 'CSRs fail' }] });
const failure = {
  code: 'STORE_FULL',
  message: 'the disk is full',
  remedy: 'Free some space',
} as const;
const restarted = { component: 'kube-scheduler', tookMs: 14_000 };

const cases: readonly (readonly [state: string, code: number, report: StepReport])[] = [
  ['planned', 0, { plan }],
  ['nothing-to-do', 0, { plan: complete }],
  ['planned', 0, { plan: { ...complete, restarts: ['kube-scheduler'] } }],
  ['refused', 3, { plan: refused }],
  ['refused', 4, { plan: harmful }],
  ['done', 0, { plan, result: { plan, done: [{ name: 'new CA', isChanged: true }] } }],
  ['failed', 1, { plan, result: { plan, done: [], failed: { name: 'new CA', failure } } }],
  [
    'undone',
    0,
    {
      plan,
      restored: { runs: [], files: [], restarts: [] },
      result: { plan, done: [] },
    },
  ],
];

describe('stepDocument() and stepExitCode()', () => {
  for (const [state, code, report] of cases) {
    it(`say ${state} with exit code ${code}`, () => {
      assert.deepEqual(
        [stepDocument(report, 'kubernetes')['state'], stepExitCode(report)],
        [state, code],
      );
    });
  }
});

describe('stepDocument()', () => {
  it('names the CA', () => {
    assert.equal(stepDocument({ plan }, 'front-proxy')['ca'], 'front-proxy');
  });
});

describe('stepTable()', () => {
  it('names the CA that is replaced', () => {
    assert.match(stepTable({ plan }, 'etcd'), /^Step \w+ of the rollover of the CA "etcd" on /);
  });

  it('has every file, restart, gate and command of a plan', () => {
    assert.equal(
      stepTable({ plan }, 'kubernetes'),
      `Step create of the rollover of the CA "kubernetes" on cp1

CHANGES
  /etc/kubernetes/pki/ca-next.key  a new key (RSA 2048)
  /etc/kubernetes/pki/ca-next.crt  a new CA (CN=kubernetes 2026-11)
  /etc/kubernetes/scheduler.conf   both CAs
  annotation of the Node cp1       the CAs of this node

RESTARTS
  kube-scheduler

GATES
  This step needs no gate

NOTES
  The old CA expires soon.

RUN AFTERWARD
  scp -p ca-next.crt cp2:

Nothing has changed yet
`,
    );
  });

  it('says what a step has done, and how long a component took', () => {
    const done = [
      { name: 'new CA', isChanged: true },
      { name: 'admin.conf', isChanged: false },
      { name: 'scheduler.conf', isChanged: true, restarted },
    ];
    const folder = '/etc/kubernetes/.nodecertd-rollover/20261129T190000Z-1';
    const text = stepTable({ plan, result: { plan, done, folder } }, 'kubernetes');
    assert.match(
      text,
      /\nDONE\n {2}new CA\n {2}scheduler\.conf: kube-scheduler was healthy after 14s\n/,
    );
    assert.match(text, /The previous files are in \/etc\/kubernetes\/\.nodecertd-rollover\//);
    assert.doesNotMatch(text, /admin\.conf/);
  });

  it('has the reason and the remedy of a refusal, and no command', () => {
    const text = stepTable({ plan: refused }, 'kubernetes');
    assert.match(text, /\nREFUSED\n {2}nodes are behind\n {4}worker-1\n {4}→ Wait\n/);
    assert.doesNotMatch(text, /scp/);
    assert.match(text, /\nRefused: nothing was changed\n$/);
  });

  it('has the failure of a task with its remedy', () => {
    const failed = { name: 'new CA', failure } as const;
    const text = stepTable({ plan, result: { plan, done: [], failed } }, 'kubernetes');
    assert.match(
      text,
      /\nFAILED\n {2}new CA: the disk is full \(STORE_FULL\)\n {4}→ Free some space\n/,
    );
    assert.match(text, /run the same command again, or undo the step with --undo\n$/);
  });
});
