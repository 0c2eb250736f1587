import type { CsrObject } from '../sandbox/api-object.ts';
import type { AuditEntry } from '../sandbox/audit-log.ts';
import { everyApproval } from '../sandbox/authorization.ts';
import { startSandbox } from '../sandbox/sandbox.ts';
import type { Clock } from '../../src/sys/clock.ts';
import { systemClock } from '../../src/sys/clock.ts';
import type {
  AuditedRequest,
  ControlPlane,
  ControlPlaneOptions,
  ObservedCsr,
} from './control-plane.ts';

export interface SandboxControlPlaneOptions extends ControlPlaneOptions {
  /** Approve serving certificates automatically; off when absent. */
  readonly approvingServing?: boolean;
  /** The clock of the signer and the API server; the machine's clock when absent. */
  readonly clock?: Clock;
}

/** Starts the sandbox as the control plane of end-to-end scenarios, in this process. */
export async function startSandboxControlPlane(
  options: SandboxControlPlaneOptions,
): Promise<ControlPlane> {
  const internalErrors: unknown[] = [];
  const sandbox = await startSandbox({
    clock: systemClock,
    ...options,
    onInternalError: (error) => internalErrors.push(error),
  });
  return {
    kind: 'sandbox',
    server: sandbox.server,
    caPem: sandbox.caPem,
    bootstrapKubeconfig: async () => sandbox.bootstrapKubeconfig(),
    adminKubeconfig: async () => sandbox.adminKubeconfig(),
    setNodeAddresses: (nodeName, addresses) => sandbox.setNodeAddresses(nodeName, addresses),
    csrs: async () => sandbox.csrs().map(observed),
    approve: async (name) => sandbox.approve(name),
    deny: async (name, reason) => sandbox.deny(name, reason),
    fail: async (name, reason) => sandbox.fail(name, reason),
    deleteCsr: async (name) => sandbox.deleteCsr(name),
    setApproving: async (approving) => sandbox.setApproving(approving),
    setRenewing: async (renewing) =>
      sandbox.setApprovals(renewing ? everyApproval : new Set(['nodeclient'])),
    stopApi: () => sandbox.stopListening(),
    startApi: () => sandbox.startListening(),
    requests: async () => sandbox.audit().filter(isForObjects).map(audited),
    [Symbol.asyncDispose]: async () => {
      await sandbox[Symbol.asyncDispose]();
      if (internalErrors.length > 0) {
        throw new AggregateError(internalErrors, 'the sandbox had internal errors');
      }
    },
  };
}

function observed({ metadata, spec, status }: CsrObject): ObservedCsr {
  return {
    name: metadata.name,
    uid: metadata.uid,
    username: spec.username,
    signerName: spec.signerName,
    createdAt: metadata.creationTimestamp,
    conditions: (status.conditions ?? []).map((condition) => condition.type),
    issued: status.certificate !== undefined,
    ...(spec.expirationSeconds !== undefined && { expirationSeconds: spec.expirationSeconds }),
    request: Buffer.from(spec.request, 'base64').toString('utf8'),
  };
}

/** An audit log names a path, such as /version, where there is no object. */
function isForObjects(entry: AuditEntry): boolean {
  return !entry.resource.startsWith('/');
}

function audited({ subresource, ...entry }: AuditEntry): AuditedRequest {
  const { user, verb, resource, name, code } = entry;
  const path = subresource === undefined ? resource : `${resource}/${subresource}`;
  return { user, verb, resource: path, name, code };
}
