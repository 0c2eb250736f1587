import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { TestContext } from 'node:test';
import { stripVTControlCharacters } from 'node:util';
import { parse } from 'yaml';
import type { Plan, Step } from '../../src/adopt/plan.ts';
import type { AdoptReport } from '../../src/cli/adopt-report.ts';
import { adoptDocument, adoptExitCode, adoptState } from '../../src/cli/adopt-report.ts';
import { adoptTable } from '../../src/cli/adopt-table.ts';
import {
  configFile,
  embedding,
  following,
  kubeadmNode,
  kubeconfigFile,
} from '../adopt/kubeadm-node.ts';
import { snapshot } from '../adopt/snapshot.ts';
import { makePair, temporaryDirectory } from '../store/pairs.ts';

const step: Step = {
  id: 'kubelet-config',
  file: '/var/lib/kubelet/config.yaml',
  form: 'yaml',
  what: 'rotateCertificates; everything else stays as it is',
  why: 'The kubelet leaves the rotation to nodecertd',
  before: 'a: 1\nrotateCertificates: true\n',
  after: 'a: 1\nrotateCertificates: false\n',
};
const nothing: Plan = { steps: [], obstacles: [], notes: [] };
const changes: Plan = {
  ...nothing,
  steps: [step],
  notes: [{ id: 'self-signed', what: 'it is\u001B[2J', remedy: 'approve it' }],
  restart: {
    why: 'It has read them',
    unit: 'kubelet.service',
    command: 'systemctl restart kubelet',
  },
};
const blocked: Plan = {
  ...nothing,
  obstacles: [{ id: 'kubelet-flag', what: 'a flag', why: 'it wins', remedy: 'take it out' }],
};

function reportOf(plan: Plan, more: Partial<AdoptReport> = {}): AdoptReport {
  return {
    action: 'adopt',
    plan,
    done: false,
    restarted: false,
    nodeName: 'n1',
    certificateDirectory: '/pki',
    ...more,
  };
}

describe('adoptExitCode()', () => {
  const cutShort = { id: 'cut-short', what: 'x', remedy: 'y' } as const;
  const { restart = { why: '', command: '' } } = changes;
  const rows: readonly (readonly [string, AdoptReport, string, number])[] = [
    ['nothing', reportOf(nothing), 'nothing-to-do', 0],
    ['changes', reportOf(changes), 'pending', 3],
    ['a restart alone', reportOf({ ...nothing, restart }), 'pending', 3],
    ['a run that was cut short', reportOf({ ...nothing, notes: [cutShort] }), 'pending', 3],
    ['obstacles', reportOf(blocked), 'blocked', 4],
    ['changes that were made', reportOf(changes, { done: true }), 'done', 0],
  ];
  for (const [name, report, state, code] of rows) {
    it(`is ${code} for ${name}`, () => {
      assert.deepEqual([adoptState(report), adoptExitCode(report)], [state, code]);
    });
  }
});

describe('adoptTable()', () => {
  const expected = `Node n1 · /pki

/var/lib/kubelet/config.yaml (kubelet-config)
  rotateCertificates; everything else stays as it is
  The kubelet leaves the rotation to nodecertd
--- /var/lib/kubelet/config.yaml
+++ /var/lib/kubelet/config.yaml
@@ -1,2 +1,2 @@
 a: 1
-rotateCertificates: true
+rotateCertificates: false

NOTES
  it is (self-signed)
    → approve it

RESTART
  It has read them
    → systemctl restart kubelet

Pending: 1 file, not changed yet; run: nodecertd adopt --yes --restart
`;

  it('shows file, reason and difference, without escape sequences', () => {
    assert.equal(adoptTable(reportOf(changes), false), expected);
  });

  it('adds nothing but color on a terminal', () => {
    const colored = adoptTable(reportOf(changes), true);
    assert.ok(colored.includes('\u001B[31m-rotateCertificates: true'), colored);
    assert.ok(colored.includes('\u001B[32m+rotateCertificates: false'), colored);
    assert.equal(stripVTControlCharacters(colored), expected);
  });

  const last: readonly (readonly [AdoptReport, string])[] = [
    [reportOf(nothing), 'Nothing to do: nodecertd keeps the certificates of this kubelet'],
    [reportOf(nothing, { action: 'revert' }), 'Nothing to do: there is no adoption to revert'],
    [reportOf(blocked), 'Refused: no file was changed, see OBSTACLES'],
    [reportOf(changes, { done: true }), 'Changed: 1 file'],
    [
      reportOf(changes, { done: true, restarted: true }),
      'Changed: 1 file, and the kubelet was restarted',
    ],
    [reportOf(changes, { done: true, action: 'revert' }), 'Restored: 1 file'],
    [
      reportOf({ ...nothing, ...(changes.restart && { restart: changes.restart }) }),
      'Pending: see above; run: nodecertd adopt --yes --restart',
    ],
  ];
  for (const [report, line] of last) {
    it(`ends with: ${line}`, () => {
      assert.equal(adoptTable(report, false).trimEnd().split('\n').at(-1), line);
    });
  }
});

describe('adoptDocument()', () => {
  it('names every step with its difference', () => {
    const { steps, restart, ...rest } = adoptDocument(reportOf(changes, { root: '/mnt' }));
    assert.deepEqual(rest, {
      apiVersion: 'nodecertd.io/v1alpha1',
      kind: 'AdoptionPlan',
      action: 'adopt',
      state: 'pending',
      nodeName: 'n1',
      certificateDirectory: '/pki',
      root: '/mnt',
      obstacles: [],
      notes: changes.notes,
    });
    const [first] = steps as Record<string, string>[];
    assert.deepEqual(Object.keys(first ?? {}), ['id', 'file', 'what', 'why', 'diff']);
    assert.match(first?.['diff'] ?? '', /^-rotateCertificates: true$/m);
    assert.deepEqual(restart, { ...changes.restart, done: false });
  });
});

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** An image has no running kubelet whose command line names them. */
const files = ['--kubelet-config', configFile];
const main = join(import.meta.dirname, '../../src/main.ts');

async function nodecertd(...args: readonly string[]): Promise<Ended> {
  return new Promise((resolve) => {
    execFile(process.execPath, [main, 'adopt', ...args], (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code), stdout, stderr });
    });
  });
}

/** The image of a node of kubeadm with pairs that are valid today. */
async function image(context: TestContext, agent?: string): Promise<string> {
  const pair = await makePair({ notBefore: Date.now() - 60_000, notAfter: Date.now() + 3_600_000 });
  const { tree } = await kubeadmNode(context, {
    [kubeconfigFile]: embedding(pair),
    ...(agent !== undefined && { '/etc/nodecertd/config.yaml': agent }),
  });
  const valid = join(tree.root, 'var/lib/kubelet/pki/kubelet-client-2026-06-01-00-00-00.pem');
  await writeFile(valid, pair.pem);
  return tree.root;
}

describe('nodecertd adopt', () => {
  it('changes an image, has nothing to do the second time, and reverts it', async (context) => {
    const root = await image(context);
    const before = await snapshot(root);
    const shown = await nodecertd('--root', root, ...files);
    assert.deepEqual([shown.code, shown.stderr], [3, '']);
    assert.ok(
      shown.stdout.endsWith(
        '\nPending: 2 files, not changed yet; run the same command with --yes\n',
      ),
    );
    assert.equal(stripVTControlCharacters(shown.stdout), shown.stdout);
    assert.deepEqual(await snapshot(root), before);

    const done = await nodecertd('--root', root, '--yes', ...files);
    assert.equal(done.code, 0, done.stdout + done.stderr);
    assert.match(done.stdout, /^Changed: 2 files$/m);
    assert.equal(await readFile(join(root, kubeconfigFile), 'utf8'), following);

    const again = await nodecertd('--root', root, '-o', 'yaml', ...files);
    assert.equal(again.code, 0, again.stdout);
    assert.equal((parse(again.stdout) as { state: string }).state, 'nothing-to-do');

    const preview = await nodecertd('--root', root, '--revert', '-o', 'json');
    assert.equal(preview.code, 3);
    const { steps } = JSON.parse(preview.stdout) as { steps: { id: string; diff: string }[] };
    assert.deepEqual(
      steps.map(({ id }) => id),
      ['restored', 'restored'],
    );
    assert.doesNotMatch(preview.stdout, /LS0tLS1CRUdJ/);
    const back = await nodecertd('--root', root, '--revert', '--yes');
    assert.equal(back.code, 0, back.stderr);
    assert.deepEqual(await snapshot(root), before);
  });

  it('rejects this machine as an image', async () => {
    for (const root of ['/', '/proc/self/root', '/proc/self/root/']) {
      const { code, stderr } = await nodecertd('--root', root, '--yes', ...files);
      assert.equal(code, 2, stderr);
      assert.match(stderr, /\/ is this machine, not an image; leave --root out/);
    }
  });

  it('exits with 4 when it refuses, and with 1 for an invalid configuration', async (context) => {
    const root = await image(context);
    const other = await nodecertd('--root', root, '--cert-dir', '/srv/pki', '--yes', ...files);
    assert.equal(other.code, 4);
    assert.match(
      other.stdout,
      /stores its certificates in \/var\/lib\/kubelet\/pki, but nodecertd uses \/srv\/pki/,
    );
    const bad = await nodecertd('--root', await image(context, 'kind: Nothing\n'), ...files);
    assert.equal(bad.code, 1);
    assert.match(bad.stderr, /CONFIG_INVALID/);
  });

  it('reads the configuration of the image, with paths relative to its folder', async (context) => {
    const root = await image(
      context,
      'apiVersion: nodecertd.io/v1alpha1\nkind: AgentConfiguration\nnodeName: n1\nkubeconfig: ../kubernetes/kubelet.conf\nstateDirectory: ../../srv/state\n',
    );
    const done = await nodecertd('--root', root, '--yes', ...files);
    assert.equal(done.code, 0, done.stdout + done.stderr);
    const left = await snapshot(root, '/srv/state');
    assert.ok(![...left.keys()].some((path) => path.includes('adopt')));
    assert.match(left.get(configFile) ?? '', /rotateCertificates: false/);
  });

  const misused: readonly (readonly [readonly string[], RegExp])[] = [
    [['--yes', '--dry-run'], /exclude each other/],
    [['--force', '--yes'], /--force needs --revert/],
    [['--restart'], /--restart needs --yes/],
    [['--restart', '--yes', '--root', '/'], /cannot be restarted/],
    [['--root', '/tmp'], /--root needs --kubelet-config or --kubelet-config-dir/],
    [['--root', '/nonexistent', ...files], /there is no folder \/nonexistent/],
    [['-o', 'xml'], /Allowed choices are table, json, yaml/],
  ];
  for (const [args, message] of misused) {
    it(`exits with 2 for ${args.join(' ')}`, async () => {
      const { code, stdout, stderr } = await nodecertd(...args);
      assert.deepEqual([code, stdout], [2, '']);
      assert.match(stderr, message);
    });
  }

  it('explains its exit codes and shows examples', async () => {
    const { code, stdout } = await nodecertd('--help');
    assert.equal(code, 0);
    assert.match(stdout, / {2}3 {2}changes are pending: --yes makes them/);
    assert.match(stdout, /nodecertd adopt --root \/mnt\/image --kubelet-config \S+ --yes/);
  });

  it('changes nothing in an image without a kubelet', async (context) => {
    const root = await temporaryDirectory(context);
    const { code, stdout } = await nodecertd('--root', root, ...files);
    assert.equal(code, 4);
    assert.match(stdout, /kubelet-config-missing/);
    assert.deepEqual(await snapshot(root), new Map());
  });
});
