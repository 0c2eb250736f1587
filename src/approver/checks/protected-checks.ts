import type { IpBytes } from '../../core/cidr.ts';
import { cidrContains, formatCidr, formatIp } from '../../core/cidr.ts';
import { isSameBytes } from '../../core/der.ts';
import { foldName } from '../alt-name.ts';
import type { Check, UsedFact } from './check.ts';
import type { Finding } from '../decision.ts';
import { controlPlaneLabel, sourceOf } from '../node-snapshot.ts';
import type { Question } from './question.ts';
import { deny, holdThenDeny, quoted } from './question.ts';

/** Names by which clients reach the API server of any cluster. */
const apiServerNames: ReadonlySet<string> = new Set([
  'localhost',
  'kubernetes',
  'kubernetes.default',
  'apiserver-loopback-client',
]);

const removeName = 'Remove the name from the addresses of the node: its host name must be its own';
const removeAddress = 'Remove the address from the node: kubelet --node-ip sets another one';
const labelNode = `Label the Node if it is a control plane: kubectl label node NODE ${controlPlaneLabel}=`;

export const protectedChecks: readonly Check[] = [
  {
    id: '4.1',
    codes: ['ProtectedName'],
    passesIf: 'no name belongs to the API server, to a Service or to protectedNames',
    judge: (question) =>
      firstFinding(question.altNames, (altName) =>
        altName.kind === 'dns' ? nameFinding(question, altName.name) : undefined,
      ),
    facts: ({ policy, facts: { cluster } }) => [
      list('protectedNames', policy.protectedNames, 'policy'),
      list('control-plane endpoint', [cluster.controlPlaneEndpoint ?? ''], 'kubeconfig'),
    ],
  },
  {
    id: '4.2',
    codes: ['ProtectedAddress'],
    passesIf:
      'no address belongs to a Service, to a Pod or, unless the Node is a control plane, to an API server',
    judge: (question) =>
      firstFinding(question.altNames, (altName) =>
        altName.kind === 'ip' ? addressFinding(question, altName.ip) : undefined,
      ),
    facts: ({ policy, facts: { cluster }, node, nodeName }) => [
      list('ServiceCIDRs', cluster.serviceCidrs.map(formatCidr), 'ServiceCIDR objects'),
      list('serviceCIDRs', policy.serviceCidrs.map(formatCidr), 'policy'),
      policy.podCidrs === undefined
        ? list('podCIDRs', ['spec.podCIDRs'], 'every Node')
        : list('podCIDRs', policy.podCidrs.map(formatCidr), 'policy'),
      list('API servers', cluster.apiServers.map(formatIp), 'EndpointSlices default/kubernetes'),
      {
        fact: controlPlaneLabel,
        value: node?.isControlPlane === true ? 'set' : 'not set',
        ...sourceOf(node, nodeName),
      },
    ],
  },
];

function firstFinding<T>(
  values: readonly T[],
  find: (value: T) => Finding | undefined,
): Finding | undefined {
  for (const value of values) {
    const finding = find(value);
    if (finding !== undefined) return finding;
  }
  return undefined;
}

function nameFinding(question: Question, name: string): Finding | undefined {
  const folded = foldName(name);
  const { policy, facts } = question;
  const owner =
    apiServerNames.has(folded) || isServiceName(folded)
      ? 'the API server or a Service'
      : policy.protectedNames.includes(folded)
        ? 'protectedNames of the policy'
        : undefined;
  if (owner !== undefined) {
    return deny('ProtectedName', `the name ${quoted(name)} belongs to ${owner}`, removeName);
  }
  const { controlPlaneEndpoint } = facts.cluster;
  const isEndpoint =
    controlPlaneEndpoint !== undefined && folded === foldName(controlPlaneEndpoint);
  // With a single control plane, the endpoint is often the name of its Node.
  if (!isEndpoint || question.node?.isControlPlane === true) return undefined;
  const message = `the name ${quoted(name)} is the control-plane endpoint, and the Node does not have the label ${controlPlaneLabel}`;
  return holdThenDeny(question, { code: 'ProtectedName', message, remedy: labelNode });
}

/** `NAME.NAMESPACE.svc`, with or without the domain of the cluster, which no API shows. */
function isServiceName(folded: string): boolean {
  return folded.split('.').indexOf('svc', 1) !== -1;
}

function addressFinding(question: Question, ip: IpBytes): Finding | undefined {
  const text = formatIp(ip);
  const owner = ownerOf(question, ip);
  if (owner !== undefined) {
    return deny('ProtectedAddress', `the address ${text} belongs to ${owner}`, removeAddress);
  }
  const { apiServers } = question.facts.cluster;
  const isApiServer = apiServers.some((address) => isSameBytes(address, ip));
  if (!isApiServer || question.node?.isControlPlane === true) return undefined;
  const message = `the address ${text} belongs to an API server, and the Node does not have the label ${controlPlaneLabel}`;
  return holdThenDeny(question, { code: 'ProtectedAddress', message, remedy: labelNode });
}

function ownerOf({ policy, facts }: Question, ip: IpBytes): string | undefined {
  const { cluster, nodes } = facts;
  if (cluster.kubernetesService.some((address) => isSameBytes(address, ip))) {
    return 'the Service default/kubernetes';
  }
  const serviceCidrs = [...cluster.serviceCidrs, ...policy.serviceCidrs];
  const service = serviceCidrs.find((cidr) => cidrContains(cidr, ip));
  if (service !== undefined) return `the Service range ${formatCidr(service)}`;
  if (policy.podCidrs !== undefined) {
    const pods = policy.podCidrs.find((cidr) => cidrContains(cidr, ip));
    return pods && `the Pod range ${formatCidr(pods)} of the policy`;
  }
  const pods = nodes.podRangeOf(ip);
  return pods && `the Pod range ${formatCidr(pods.cidr)} of Node ${pods.node}`;
}

function list(fact: string, values: readonly string[], source: string): UsedFact {
  return { fact, value: values.join(', ') || 'none', source };
}
