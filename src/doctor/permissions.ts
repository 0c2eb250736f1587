import type { AgentConfig } from '../core/config.ts';
import type { DoctorFinding } from '../core/findings.ts';
import type { AccessQuestion } from '../kube/access-review.ts';
import { mayI } from '../kube/access-review.ts';
import type { ApiConnection } from './connection.ts';

/** One thing that the agent does under an identity, or has to be allowed for what it asks to be approved. */
export interface Permission {
  readonly question: AccessQuestion;
  readonly purpose: 'request' | 'approval' | 'addresses';
}

export interface PermissionFacts {
  readonly source: ApiConnection['source'];
  readonly answers: readonly (Permission & { readonly allowed: boolean })[];
}

const csrs = { group: 'certificates.k8s.io', resource: 'certificatesigningrequests' };

/** What has to be allowed, and no more than the agent does: each question is a request of its own. */
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
    // A bootstrapper has to become a node first.
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
  // One after the other: nothing is in a hurry here, least of all the API server.
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

/** gardener #10876: without the binding nodes join, and drop out when their first certificate ends. */
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
    what: `the ${source === 'bootstrap' ? 'first client certificate' : 'renewal of the client certificate'} is not approved by the cluster: create certificatesigningrequests/${subresource} is not allowed`,
    why:
      source === 'bootstrap'
        ? 'kube-controller-manager leaves the request alone: it waits until a person, or an approver of your own, approves it'
        : 'kube-controller-manager leaves the renewal alone: unless a person, or an approver of your own, approves it, the node drops out when its certificate expires',
    remedy: `kubectl create clusterrolebinding nodecertd:${binding} --clusterrole=${role}:${subresource} --group=${group}`,
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
      why: 'The addresses of the serving certificate come from the Node: without them it is never asked for',
      remedy: `Run the API server with --authorization-mode=Node,RBAC; check with: kubectl auth can-i ${question.verb} node/${nodeName} --as=system:node:${nodeName} --as-group=system:nodes`,
    };
  }
  return {
    id: 'permission-missing',
    severity: 'error',
    subject,
    what,
    why: 'Certificates cannot be asked for, or what becomes of a request cannot be seen',
    remedy:
      source === 'bootstrap'
        ? 'kubectl create clusterrolebinding nodecertd:create-csrs-for-bootstrapping --clusterrole=system:node-bootstrapper --group=system:bootstrappers'
        : 'Run the API server with --authorization-mode=Node,RBAC, and see that the certificate has the organisation system:nodes',
  };
}
