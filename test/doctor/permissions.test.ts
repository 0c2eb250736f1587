import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { CertificateSpec } from '../../src/core/certificate-spec.ts';
import type { Permission } from '../../src/doctor/permissions.ts';
import { permissionFindings, neededPermissions } from '../../src/doctor/permissions.ts';
import { agentConfig } from '../keeper/fixtures.ts';
import { servingSpec } from '../core/fixtures.ts';
import { summaryOf, textOf } from './findings.ts';

const clientSpec: CertificateSpec = {
  ...servingSpec,
  name: 'kubelet-client',
  profile: 'kubelet-client',
  addresses: 'static',
};

function shown({ question }: Permission): string {
  const { verb, resource, subresource, name } = question;
  return `${verb} ${[resource, subresource ?? name].filter(Boolean).join('/')}`;
}

const csrs = 'certificatesigningrequests';
const always = [`create ${csrs}`, `get ${csrs}`, `watch ${csrs}`];

describe('neededPermissions()', () => {
  const config = { ...agentConfig('/x'), nodeName: 'n1', certificates: [clientSpec, servingSpec] };
  const rows = [
    [
      'a node',
      config,
      'kubeconfig',
      [...always, `create ${csrs}/selfnodeclient`, 'get nodes/n1', 'watch nodes/n1'],
    ],
    ['a bootstrapper', config, 'bootstrap', [...always, `create ${csrs}/nodeclient`]],
    [
      'a node without a serving certificate',
      { ...config, certificates: [clientSpec] },
      'kubeconfig',
      [...always, `create ${csrs}/selfnodeclient`],
    ],
    [
      'a node without a managed client certificate',
      { ...config, certificates: [servingSpec] },
      'kubeconfig',
      [...always, 'get nodes/n1', 'watch nodes/n1'],
    ],
  ] as const;
  for (const [name, config, source, expected] of rows) {
    it(`are minimal for ${name}`, () => {
      assert.deepEqual(neededPermissions(config, source).map(shown), expected);
    });
  }
});

describe('permissionFindings()', () => {
  const config = { ...agentConfig('/x'), nodeName: 'n1', certificates: [clientSpec, servingSpec] };
  const findingsFor = (
    source: 'kubeconfig' | 'bootstrap',
    denied: string,
  ): ReturnType<typeof permissionFindings> => {
    const answers = neededPermissions(config, source).map((permission) => ({
      ...permission,
      allowed: shown(permission) !== denied,
    }));
    return permissionFindings({ source, answers }, 'n1');
  };
  const rows = [
    ['kubeconfig', 'nothing', 'ok permissions', /allowed: create certificatesigningrequests, /],
    ['kubeconfig', `create ${csrs}`, 'error permission-missing', /--authorization-mode=Node,RBAC/],
    [
      'bootstrap',
      `create ${csrs}`,
      'error permission-missing',
      /kubectl create clusterrolebinding \S+ --clusterrole=system:node-bootstrapper --group=system:bootstrappers/,
    ],
    [
      'kubeconfig',
      `create ${csrs}/selfnodeclient`,
      'warning approval-not-permitted',
      /--clusterrole=system:certificates\.k8s\.io:certificatesigningrequests:selfnodeclient --group=system:nodes/,
    ],
    [
      'bootstrap',
      `create ${csrs}/nodeclient`,
      'warning approval-not-permitted',
      /:nodeclient --group=system:bootstrappers/,
    ],
    [
      'kubeconfig',
      'watch nodes/n1',
      'error permission-missing',
      /kubectl auth can-i watch node\/n1 --as=system:node:n1/,
    ],
  ] as const;
  for (const [source, denied, expected, remedy] of rows) {
    it(`finds ${expected} if ${source} may not ${denied}`, () => {
      const findings = findingsFor(source, denied);
      assert.deepEqual(summaryOf(findings), [expected]);
      assert.match(textOf(findings), remedy);
    });
  }
});
