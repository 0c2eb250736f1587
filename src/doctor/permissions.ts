import type { AgentConfig } from '../core/config.ts';
import type { DoctorFinding } from '../core/findings.ts';
import type { AccessQuestion } from '../kube/access-review.ts';
import { mayI } from '../kube/access-review.ts';
import type { ApiConnection } from './connection.ts';

/** A request that the agent sends, or a permission that approvers check before they approve its CSRs. */
export interface Permission {
  readonly question: AccessQuestion;
  readonly purpose: 'request' | 'approval' | 'addresses';
}

export interface PermissionFacts {
  readonly source: ApiConnection['source'];
  readonly answers: readonly (Permission & { readonly allowed: boolean })[];
}

const csrs = { group: 'certificates.k8s.io', resource: 'certificatesigningrequests' };

/** The permissions the agent needs, and no others: each question costs a request. */
export function neededPermissions(
  { certificates, nodeName }: AgentConfig,
  source: ApiConnection['source'],
): Permission[] {
  const renews = certificates.some(({ profile }) => profile === 'kubelet-client');
  const looksUp = certificates.some(({ addresses }) => addresses === 'node');
  const subresource = source === 'bootstrap' ? 'nodeclient' : 'selfnodeclient';
  const permission = (purpose: Permission['purpose'], question: AccessQuestion): Permission => ({
    purpose,
    question,
  });
  return [
    ...['create', 'get', 'watch'].map((verb) => permission('request', { ...csrs, verb })),
    ...(renews ? [permission('approval', { ...csrs, subresource, verb: 'create' })] : []),
    // A bootstrapper reads the Node only after it has a client certificate.
    ...(looksUp && source === 'kubeconfig'
      ? ['get', 'watch'].map((verb) =>
          permission('addresses', { group: '', resource: 'nodes', name: nodeName, verb }),
        )
      : []),
  ];
}

export async function askPermissions(
  { client, source }: ApiConnection,
  permissions: readonly Permission[],
  signal: AbortSignal,
): Promise<PermissionFacts> {
  const answers: (Permission & { allowed: boolean })[] = [];
  // One after the other, to spare the API server.
  for (const permission of permissions) {
    answers.push({ ...permission, allowed: await mayI(client, permission.question, signal) });
  }
  return { source, answers };
}

export function permissionFindings(
  { source, answers }: PermissionFacts,
  nodeName: string,
): DoctorFinding[] {
  const denied = answers.filter(({ allowed }) => !allowed);
  if (denied.length === 0) {
    const may = answers.map(({ question }) => `${question.verb} ${nameOf(question)}`);
    return [{ id: 'permissions', severity: 'ok', what: `allowed: ${may.join(', ')}` }];
  }
  return denied.map(({ question, purpose }) =>
    purpose === 'approval' ? notApproved(source) : missing(question, { source, nodeName }),
  );
}

function nameOf({ resource, subresource, name }: AccessQuestion): string {
  return [resource, subresource ?? name].filter((part) => part !== undefined).join('/');
}

const role = 'system:certificates.k8s.io:certificatesigningrequests';

/** gardener #10876: without the binding, nodes join but drop out when their first certificate expires. */
function notApproved(source: ApiConnection['source']): DoctorFinding {
  const [subresource, binding, group] =
    source === 'bootstrap'
      ? ([
          'nodeclient',
          'auto-approve-bootstrap-client-certificates',
          'system:bootstrappers',
        ] as const)
      : (['selfnodeclient', 'auto-approve-renewed-client-certificates', 'system:nodes'] as const);
  return {
    id: 'approval-not-permitted',
    severity: 'warning',
    subject: subresource,
    what: `the cluster does not approve the ${source === 'bootstrap' ? 'first client certificate' : 'renewal of the client certificate'}: create certificatesigningrequests/${subresource} is not allowed`,
    why:
      source === 'bootstrap'
        ? 'The CSR stays pending until a person or another approver approves it'
        : 'Unless a person or another approver approves the renewal, the node drops out when its certificate expires',
    remedy: `Let kube-controller-manager approve it: kubectl create clusterrolebinding nodecertd:${binding} --clusterrole=${role}:${subresource} --group=${group}`,
  };
}

function missing(
  question: AccessQuestion,
  { source, nodeName }: { readonly source: ApiConnection['source']; readonly nodeName: string },
): DoctorFinding {
  const what = `not allowed: ${question.verb} ${nameOf(question)}`;
  const subject = `${question.verb} ${nameOf(question)}`;
  if (question.resource === 'nodes') {
    return {
      id: 'permission-missing',
      severity: 'error',
      subject,
      what,
      why: 'The agent cannot read the addresses for the serving certificate from the Node, so it never requests the certificate',
      remedy: `Run the API server with --authorization-mode=Node,RBAC; check with: kubectl auth can-i ${question.verb} node/${nodeName} --as=system:node:${nodeName} --as-group=system:nodes`,
    };
  }
  return {
    id: 'permission-missing',
    severity: 'error',
    subject,
    what,
    why: 'The agent cannot request certificates or follow its CSRs',
    remedy:
      source === 'bootstrap'
        ? 'Allow bootstrappers to create CSRs: kubectl create clusterrolebinding nodecertd:create-csrs-for-bootstrapping --clusterrole=system:node-bootstrapper --group=system:bootstrappers'
        : 'Run the API server with --authorization-mode=Node,RBAC, and check that the client certificate has the organization system:nodes',
  };
}
