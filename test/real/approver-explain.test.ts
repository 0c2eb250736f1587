import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import type { Attribute, RequestParts } from '../approver/requests.ts';
import { dns, ip, nodeSubject, oids, requestPem } from '../approver/requests.ts';
import { n1Addresses } from '../approver/cluster.ts';
import { ApproverPlane } from '../support/approver-plane.ts';
import type { Ended } from '../support/doctor.ts';
import { nodecertd } from '../support/doctor.ts';
import { controlPlaneDirectory } from '../support/programs.ts';
import { newCsr } from '../support/real-csr.ts';
import { skipWithoutRealControlPlane } from '../support/real-control-plane.ts';

interface Requestor {
  readonly user?: string;
  readonly usages?: readonly string[];
  readonly moreGroups?: readonly string[];
}

const servingUsages = ['digital signature', 'server auth'];

describe(
  'nodecertd approver explain with the permissions of the approver',
  { skip: skipWithoutRealControlPlane() },
  () => {
    let cluster: ApproverPlane;
    /** Of the administrator. */
    let kubeconfig = '';
    let count = 0;

    before(async () => {
      cluster = await ApproverPlane.start();
      kubeconfig = join(cluster.folder, 'admin.conf');
      await writeFile(kubeconfig, await cluster.plane.adminKubeconfig());
      await cluster.setNode('n1', n1Addresses);
    });
    after(async () => {
      await cluster[Symbol.asyncDispose]();
    });

    function kubectl(args: readonly string[], input = ''): void {
      const program = join(controlPlaneDirectory(), 'kubectl');
      execFileSync(program, [...args, `--kubeconfig=${kubeconfig}`], { input, stdio: 'pipe' });
    }

    /** Creates a CSR as this user, and returns its name. */
    function create(
      request: RequestParts,
      { user = 'system:node:n1', usages = servingUsages, moreGroups = [] }: Requestor = {},
    ): string {
      count += 1;
      const name = `csr-${count}`;
      const object = newCsr({ name, request: requestPem(request), usages });
      const all = ['system:nodes', 'system:authenticated', ...moreGroups];
      const groups = all.map((group) => `--as-group=${group}`);
      kubectl(['create', '-f', '-', `--as=${user}`, ...groups], JSON.stringify(object));
      return name;
    }

    async function explain(name: string): Promise<Ended> {
      const flags = ['-o', 'json', '--kubeconfig', cluster.kubeconfig];
      return nodecertd('approver', 'explain', name, ...flags);
    }

    const n9 = { user: 'system:node:n9' };
    const keysOfN9 = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const masters: Attribute = { oid: oids.organization, value: 'system:masters' };
    const cases: readonly (readonly [string, string, number, () => string])[] = [
      ['a CSR of the node', 'ServingPolicyPassed', 0, () => create({})],
      [
        'the kubernetes Service',
        'ProtectedAddress',
        4,
        () => create({ altNames: [ip('10.96.0.1')] }),
      ],
      [
        'the name of a Service',
        'ProtectedName',
        4,
        () => create({ altNames: [dns('kubernetes.default.svc')] }),
      ],
      ['the name of another node', 'SANNotOwned', 3, () => create({ altNames: [dns('n10')] })],
      [
        'client auth',
        'UsagesNotAllowed',
        4,
        () => create({}, { usages: ['digital signature', 'client auth'] }),
      ],
      [
        'O=system:masters',
        'SubjectMismatch',
        4,
        () => create({ subject: [...nodeSubject('system:node:n1'), [masters]] }),
      ],
      [
        'a node without a Node',
        'NodeNotFound',
        3,
        () => create({ subject: nodeSubject('system:node:n9'), keys: keysOfN9 }, n9),
      ],
      [
        'the key of another node',
        'KeyReused',
        4,
        () => create({ subject: nodeSubject('system:node:n9') }, n9),
      ],
      [
        'a user that is not a node',
        'RequestorNotNode',
        5,
        () => create({}, { user: 'jane', moreGroups: ['system:masters'] }),
      ],
    ];
    // One after the other, because each CSR of n1 supersedes the one before.
    for (const [title, reason, exitCode, make] of cases) {
      it(`explains ${title}: ${reason}`, async () => {
        const { code, stdout, stderr } = await explain(make());
        assert.equal(stderr, '');
        const document = JSON.parse(stdout) as {
          readonly reason: string;
          readonly message: string;
        };
        assert.equal(document.reason, reason, document.message);
        assert.equal(code, exitCode);
      });
    }

    it('sends no request but those that the approver may send', async () => {
      const requests = await cluster.requests();
      assert.deepEqual(
        requests.filter(({ code }) => code !== 200),
        [],
      );
      const kinds = requests.map(({ verb, resource, name }) =>
        [verb, resource, name ?? []].flat().join(' '),
      );
      assert.deepEqual([...new Set(kinds)].sort(), [
        'get services kubernetes',
        'list certificatesigningrequests',
        'list endpointslices',
        'list nodes',
        'list servicecidrs',
      ]);
    });

    it('ignores an approved CSR, and says how to see the others', async () => {
      const name = create({});
      kubectl(['certificate', 'approve', name]);
      const { code, stdout } = await explain(name);
      assert.equal(code, 5);
      assert.match(stdout, /NotPending/);
      const missing = await explain('no-such-csr');
      assert.equal(missing.code, 2);
      assert.match(
        missing.stderr,
        /has no CSR of the signer \S+ named no-such-csr .*\n {2}→ List the CSRs: kubectl get csr/,
      );
    });
  },
);
