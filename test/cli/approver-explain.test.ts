import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { describe, it } from 'node:test';
import { stringify } from 'yaml';
import { checks } from '../../src/approver/checks/all-checks.ts';
import { minute } from '../../src/core/instant.ts';
import { createdAt } from '../approver/cluster.ts';
import type { RequestParts } from '../approver/requests.ts';
import { dns } from '../approver/requests.ts';
import { temporaryDirectory } from '../store/pairs.ts';
import type { Ended } from '../support/doctor.ts';
import { csrObject, nodeObject } from './approver-objects.ts';
import { runInProcess } from './in-process.ts';

async function explain(
  context: TestContext,
  files: Readonly<Record<string, string>>,
  options: { readonly now?: number; readonly args?: readonly string[] } = {},
): Promise<Ended> {
  const directory = await temporaryDirectory(context);
  const flags: string[] = [];
  for (const [flag, text] of Object.entries(files)) {
    const file = join(directory, `${flag}.yaml`);
    await writeFile(file, text);
    flags.push(`--${flag}`, file);
  }
  const { now = createdAt + minute, args = [] } = options;
  return runInProcess(now, 'approver', 'explain', ...args, ...flags);
}

const node = stringify(nodeObject());

function csr(request: RequestParts = {}): string {
  return stringify(csrObject(request));
}

describe('nodecertd approver explain --file', () => {
  it('shows an approval, with every check and the facts behind it', async (context) => {
    const { code, stdout } = await explain(context, { file: csr(), node });
    assert.equal(code, 0);
    assert.match(stdout, /^CSR csr-1 of system:node:n1, SANs: n1, 10\.100\.0\.2$/m);
    assert.match(stdout, /^Outcome: approve \(ServingPolicyPassed\)$/m);
    assert.equal(stdout.match(/^\d(?:\.\d)? +passed /gm)?.length, checks.length);
    assert.match(
      stdout,
      /^5\.5 +status\.addresses +Hostname n1, InternalIP 10\.100\.0\.2, .* Node n1 +100$/m,
    );
    assert.match(stdout, /^ {2}kubectl certificate deny csr-1$/m);
  });

  it('shows a denial, the failed check, and what was not reached', async (context) => {
    const { code, stdout } = await explain(context, {
      file: csr({ altNames: [dns('n10')] }),
      node,
    });
    assert.equal(code, 4);
    assert.match(
      stdout,
      /^Outcome: deny \(SANNotOwned\)\n {2}the SAN "n10" is not in the status\.addresses of Node n1\n {2}→ Compare /m,
    );
    assert.match(stdout, /^5\.5 +failed +SANNotOwned /m);
    assert.match(stdout, /^5\.6 +not reached /m);
    assert.match(stdout, /^ {2}kubectl certificate approve csr-1$/m);
  });

  it('shows until when a CSR is held', async (context) => {
    const files = { file: csr({ altNames: [dns('n10')] }), node };
    const { code, stdout } = await explain(context, files, { now: createdAt + 1 });
    assert.equal(code, 3);
    assert.match(stdout, /^Outcome: hold \(SANNotOwned\), until 2026-11-22T10:01:00Z$/m);
  });

  it('holds a CSR without a Node', async (context) => {
    const { code, stdout } = await explain(context, { file: csr() });
    assert.equal(code, 3);
    assert.match(stdout, /NodeNotFound/);
  });

  it('ignores a decided CSR, and says that the signer has not issued it', async (context) => {
    const file = stringify(csrObject({}, { condition: 'Approved' }));
    const { code, stdout } = await explain(context, { file, node });
    assert.equal(code, 5);
    assert.match(stdout, /^Outcome: ignore \(NotPending\)$/m);
    assert.match(stdout, /^Signer: the CSR is approved, .*; CSRs waiting for the signer: 1;/m);
    assert.doesNotMatch(stdout, /kubectl certificate/);
  });

  it('prints JSON for scripts', async (context) => {
    const args = ['-o', 'json'];
    const { stdout } = await explain(context, { file: csr(), node }, { args });
    const document = JSON.parse(stdout) as Record<string, unknown>;
    assert.equal(document['kind'], 'ApproverExplanation');
    assert.equal(document['outcome'], 'approve');
    assert.equal(document['reason'], 'ServingPolicyPassed');
    assert.equal((document['checks'] as unknown[]).length, checks.length);
  });

  it('uses the policy file, and its inventory', async (context) => {
    const directory = await temporaryDirectory(context);
    await writeFile(
      join(directory, 'nodes.yaml'),
      'apiVersion: nodecertd.io/v1alpha1\nkind: NodeInventory\nnodes: [{name: n1}]\n',
    );
    const policy = stringify({
      apiVersion: 'nodecertd.io/v1alpha1',
      kind: 'ApproverPolicy',
      sources: { inventory: { file: join(directory, 'nodes.yaml') } },
    });
    const { code, stdout } = await explain(context, { file: csr(), node, policy });
    assert.equal(code, 3);
    assert.match(stdout, /the inventory does not list n1 for n1/);
  });

  it('finds the named CSR and the Node in one list, and considers the other objects', async (context) => {
    const list = {
      apiVersion: 'v1',
      kind: 'List',
      items: [
        csrObject(),
        csrObject({}, { name: 'csr-2' }),
        nodeObject(),
        {
          apiVersion: 'networking.k8s.io/v1',
          kind: 'ServiceCIDR',
          metadata: { name: 'kubernetes', resourceVersion: '3' },
          spec: { cidrs: ['10.100.0.0/16'] },
        },
      ],
    };
    const files = { file: JSON.stringify(list) };
    const { code, stdout } = await explain(context, files, { args: ['csr-2'] });
    assert.equal(code, 4);
    assert.match(
      stdout,
      /the address 10\.100\.0\.2 belongs to the Service range 10\.100\.0\.0\/16/,
    );
    const unnamed = await explain(context, files);
    assert.equal(unnamed.code, 2);
    assert.match(unnamed.stderr, /has 2 CSRs, and none is named/);
  });

  it('says that a file has no CSR, and how to save one', async (context) => {
    for (const [file, args, message] of [
      [node, [], /file\.yaml has no CSR \(/],
      ['', ['csr-7'], /file\.yaml has no CSR named csr-7 \(/],
      [csr(), ['csr-7'], /file\.yaml has no CSR named csr-7 \(/],
    ] as const) {
      const { code, stderr } = await explain(context, { file, node }, { args });
      assert.equal(code, 2);
      assert.match(stderr, message);
      assert.match(
        stderr,
        /→ Save the CSR in the file: kubectl get csr NAME -o yaml > .*file\.yaml/,
      );
    }
  });

  it('names the file, the line and the field of a malformed object', async (context) => {
    const { metadata, ...rest } = csrObject();
    const broken = stringify({ ...rest, metadata: { ...metadata, uid: 7 } });
    const { code, stderr } = await explain(context, { file: `# saved\n${broken}`, node });
    assert.equal(code, 1);
    assert.match(stderr, /file\.yaml:2: CertificateSigningRequest: metadata\.uid must be string/);
  });

  it('shows no control characters of the CSR', async (context) => {
    const file = stringify(csrObject({}, { username: 'jane\u001b[31m\nOutcome: approve' }));
    const { code, stdout } = await explain(context, { file, node });
    assert.equal(code, 5);
    assert.equal(stdout.match(/^Outcome/gm)?.length, 1);
    assert.ok(!stdout.includes('\u001b'));
  });
});

describe('nodecertd approver check', () => {
  const head = 'apiVersion: nodecertd.io/v1alpha1\nkind: ApproverPolicy\n';

  async function check(
    context: TestContext,
    policy: string,
    objects: readonly unknown[],
  ): Promise<Ended> {
    const directory = await temporaryDirectory(context);
    const saved = await temporaryDirectory(context);
    await writeFile(join(directory, 'policy.yaml'), head + policy);
    for (const [index, object] of objects.entries()) {
      await writeFile(join(saved, `${index}.yaml`), stringify(object));
    }
    await writeFile(join(saved, 'README'), 'not an object');
    return runInProcess(
      createdAt,
      'approver',
      'check',
      '--policy',
      join(directory, 'policy.yaml'),
      saved,
    );
  }

  const objects = [
    nodeObject(),
    csrObject({}, { name: 'csr-approved', condition: 'Approved' }),
    csrObject(
      { altNames: [dns('n10')] },
      { name: 'csr-denied', condition: 'Denied', at: createdAt + minute },
    ),
  ];

  it('exits with 0 if the policy agrees with the recorded decisions', async (context) => {
    const { code, stdout } = await check(context, '', objects);
    assert.equal(code, 0, stdout);
    assert.match(stdout, /^csr-approved +n1 +approved +approve +ServingPolicyPassed$/m);
    assert.match(stdout, /^csr-denied +n1 +denied +deny +SANNotOwned +the SAN "n10"/m);
    assert.match(stdout, /^2 CSRs; the policy agrees with every recorded decision$/m);
  });

  it('exits with 4 and marks the CSRs for which the policy decides in another way', async (context) => {
    const { code, stdout } = await check(context, 'deniedCIDRs: [10.100.0.0/24]\n', objects);
    assert.equal(code, 4);
    assert.match(stdout, /^csr-approved +n1 +approved +deny \(differs\) +AddressNotAllowed /m);
    assert.match(stdout, /^2 CSRs; the policy differs from 1 recorded decision$/m);
  });

  it('exits with 1 for an invalid policy, an empty folder and a missing one', async (context) => {
    const invalid = await check(context, 'modes: x\n', objects);
    assert.equal(invalid.code, 1);
    assert.match(invalid.stderr, /policy\.yaml:3: modes: unknown key/);
    const empty = await check(context, '', [nodeObject()]);
    assert.equal(empty.code, 1);
    assert.match(empty.stderr, /has no saved CSR \(CONFIG_INVALID\)\n {2}→ Save the objects/);
    const missing = await runInProcess(
      createdAt,
      'approver',
      'check',
      '--policy',
      '/no',
      '/no/such',
    );
    assert.equal(missing.code, 1);
  });
});
