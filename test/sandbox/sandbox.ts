import { randomBytes } from 'node:crypto';
import type { NodeAddress } from '../../src/core/enroller-protocol.ts';
import { AgentError } from '../../src/core/errors.ts';
import type { Instant } from '../../src/core/instant.ts';
import { day, second } from '../../src/core/instant.ts';
import { x509 } from '../../src/core/x509.ts';
import type { Clock } from '../../src/sys/clock.ts';
import type { Condition, CsrObject, NodeObject } from './api-object.ts';
import { hasCondition } from './api-object.ts';
import { ApiServer } from './api-server.ts';
import type { AuditEntry } from './audit-log.ts';
import { AuditLog } from './audit-log.ts';
import { Authenticator, bootstrapUser } from './authentication.ts';
import type { Approvals } from './authorization.ts';
import { everyApproval } from './authorization.ts';
import type { PemPair } from './ca.ts';
import { CertificateAuthority } from './ca.ts';
import { CertificateControllers } from './certificate-controllers.ts';
import { runCsrCleaner } from './csr-cleaner.ts';
import { csrRegistry } from './csr-registry.ts';
import { HttpsListener } from './https-listener.ts';
import { certificateKubeconfig, tokenKubeconfig } from './kubeconfigs.ts';
import { nodeRegistry, newNodeBody } from './node-registry.ts';
import { ObjectStore, Revisions } from './object-store.ts';
import type { Registry } from './registry.ts';
import type { BootstrapToken } from './token-secret.ts';
import { createObject, deleteObject, getObject, updateObject } from './registry.ts';

export interface SandboxOptions {
  readonly clock: Clock;
  /** On 127.0.0.1. A free port when absent or 0. */
  readonly port?: number;
  /** Lifetime of issued certificates, above zero; a year when absent, as upstream. */
  readonly signingSeconds?: number;
  /** Lifetime of the sandbox's CA and of its serving certificate; ten years when absent. */
  readonly caSeconds?: number;
  /** Approve client certificates of kubelets by the upstream rules; on when absent. */
  readonly approving?: boolean;
  /** Approve a node's own serving certificates, which a real cluster does not; off when absent. */
  readonly approvingServing?: boolean;
  /** Sign approved CSRs; on when absent. */
  readonly signing?: boolean;
  /** Names of additional signers, which sign every approved CSR unchanged. */
  readonly customSigners?: readonly string[];
  /** In the form `abcdef.0123456789abcdef`; random when absent. */
  readonly bootstrapToken?: string;
  /** Lifetime of the token and its Secret; unlimited when absent. */
  readonly bootstrapTokenSeconds?: number;
  /** 1 MiB when absent. */
  readonly maxBodyBytes?: number;
  /** Number of past changes that are kept for watches, for each resource; 1000 when absent. */
  readonly historyLimit?: number;
  /** Receives unexpected errors; they are ignored when absent. */
  readonly onInternalError?: (error: unknown) => void;
}

/** A certificates API with its own CA, which keeps everything in memory. */
export interface Sandbox extends AsyncDisposable {
  /** `https://127.0.0.1:PORT`. */
  readonly server: string;
  readonly caPem: string;
  /** The CA of the custom signers, which the API does not trust. */
  readonly customCaPem: string;
  bootstrapKubeconfig(): string;
  adminKubeconfig(): string;
  /** The latest requests, oldest first. */
  audit(): readonly AuditEntry[];
  csrs(): readonly CsrObject[];
  /** These four throw AgentError API_NOT_FOUND if there is no such CSR. */
  approve(csrName: string): void;
  deny(csrName: string, reason: string): void;
  fail(csrName: string, reason: string): void;
  deleteCsr(csrName: string): void;
  /** Creates the Node or replaces its status.addresses. */
  setNodeAddresses(nodeName: string, addresses: readonly NodeAddress[]): Promise<void>;
  setApproving(approving: boolean): void;
  setApprovingServing(approvingServing: boolean): void;
  setSigning(signing: boolean): void;
  /** Sets the bindings for automatic approval. All exist at the start. */
  setApprovals(approvals: Approvals): void;
  /** Releases the port and breaks all connections. The objects stay. */
  stopListening(): Promise<void>;
  /** Listens on the same port again. */
  startListening(): Promise<void>;
}

const admin = { username: 'sandbox-admin', groups: ['system:masters', 'system:authenticated'] };

/** @throws AgentError USAGE for an invalid option, API_UNREACHABLE if the port is in use */
export async function startSandbox(options: SandboxOptions): Promise<Sandbox> {
  const parts = await assemble(options);
  const port = await parts.listener.listen(options.port ?? 0);
  const stop = new AbortController();
  const cleaning = runCsrCleaner({ csrs: parts.csrs, clock: options.clock }, stop.signal);
  return sandboxOf(parts, port, async () => {
    stop.abort();
    await cleaning;
  });
}

interface Parts {
  readonly ca: CertificateAuthority;
  readonly customCa: CertificateAuthority;
  readonly adminPair: PemPair;
  readonly bootstrap: BootstrapToken;
  readonly csrs: Registry<CsrObject>;
  readonly nodes: Registry<NodeObject>;
  readonly audit: AuditLog;
  readonly controllers: CertificateControllers;
  readonly listener: HttpsListener;
}

async function assemble(options: SandboxOptions): Promise<Parts> {
  const { clock } = options;
  const signingSeconds = positive('signingSeconds', options.signingSeconds, (365 * day) / second);
  const caSeconds = positive('caSeconds', options.caSeconds, (3650 * day) / second);
  const bootstrap = bootstrapOf(options, clock.now());
  const root = { now: clock.now(), lifetimeMs: caSeconds * second };
  const [ca, customCa] = await Promise.all([
    CertificateAuthority.create({ ...root, commonName: 'nodecertd-sandbox-ca' }),
    CertificateAuthority.create({ ...root, commonName: 'nodecertd-sandbox-custom-ca' }),
  ]);
  const [serverPair, adminPair] = await Promise.all([issueServerPair(ca), issueAdminPair(ca)]);
  const revisions = new Revisions();
  const historyLimit = options.historyLimit ?? 1000;
  const onInternalError = options.onInternalError ?? ignore;
  const csrs = csrRegistry(new ObjectStore(revisions, historyLimit), clock);
  const nodes = nodeRegistry(new ObjectStore(revisions, historyLimit), clock);
  const audit = new AuditLog(100_000);
  const controllers = new CertificateControllers(
    {
      clock,
      ca,
      customCa,
      csrs,
      signingSeconds,
      customSigners: options.customSigners ?? [],
      onInternalError,
    },
    {
      approving: options.approving ?? true,
      approvingServing: options.approvingServing ?? false,
      signing: options.signing ?? true,
      approvals: everyApproval,
    },
  );
  const api = new ApiServer({
    clock,
    authenticator: new Authenticator({ caPem: ca.pem, now: () => clock.now(), bootstrap }),
    csrs,
    nodes,
    bootstrap,
    approvals: () => controllers.approvals,
    audit,
    maxBodyBytes: options.maxBodyBytes ?? 1024 * 1024,
    onInternalError,
  });
  const listener = new HttpsListener({
    pair: serverPair,
    caPem: ca.pem,
    handle: (request, response, signal) => api.handle(request, response, signal),
  });
  return { ca, customCa, adminPair, bootstrap, csrs, nodes, audit, controllers, listener };
}

function sandboxOf(parts: Parts, port: number, stopCleaning: () => Promise<void>): Sandbox {
  const { ca, csrs, nodes, controllers, listener } = parts;
  const server = `https://127.0.0.1:${port}`;
  const endpoint = { server, caPem: ca.pem };
  return {
    server,
    caPem: ca.pem,
    customCaPem: parts.customCa.pem,
    bootstrapKubeconfig: () => tokenKubeconfig(endpoint, parts.bootstrap.token),
    adminKubeconfig: () => certificateKubeconfig(endpoint, parts.adminPair),
    audit: () => parts.audit.entries,
    csrs: () => csrs.store.list(),
    approve: (name) => {
      addCondition(csrs, name, { type: 'Approved', status: 'True', reason: 'SandboxApprove' });
    },
    deny: (name, reason) => {
      addCondition(csrs, name, { type: 'Denied', status: 'True', reason });
    },
    fail: (name, reason) => {
      addCondition(csrs, name, { type: 'Failed', status: 'True', reason });
    },
    deleteCsr: (name) => {
      deleteObject(csrs, name);
    },
    setNodeAddresses: async (name, addresses) => {
      const node = nodes.store.get(name);
      if (node === undefined) {
        await createObject(nodes, newNodeBody(name, addresses), admin);
        return;
      }
      const body = { ...node, status: { ...node.status, addresses } };
      updateObject(nodes, { name, body, subresource: 'status' });
    },
    setApproving: (approving) => {
      controllers.set({ approving });
    },
    setApprovingServing: (approvingServing) => {
      controllers.set({ approvingServing });
    },
    setApprovals: (approvals) => {
      controllers.set({ approvals });
    },
    setSigning: (signing) => {
      controllers.set({ signing });
    },
    stopListening: () => listener.close(),
    startListening: async () => {
      await listener.listen(port);
    },
    [Symbol.asyncDispose]: async () => {
      await stopCleaning();
      await listener.close();
      await controllers.close();
    },
  };
}

/** An existing condition is not changed. */
function addCondition(csrs: Registry<CsrObject>, name: string, condition: Condition): void {
  const csr = getObject(csrs, name);
  if (hasCondition(csr, condition.type)) return;
  const subresource = condition.type === 'Failed' ? 'status' : 'approval';
  const conditions = [...(csr.status.conditions ?? []), condition];
  updateObject(csrs, {
    name,
    body: { ...csr, status: { ...csr.status, conditions } },
    subresource,
  });
}

function issueServerPair(ca: CertificateAuthority): Promise<PemPair> {
  return ca.issuePair({
    subject: new x509.Name([{ CN: ['nodecertd-sandbox'] }]),
    usages: ['digital signature', 'server auth'],
    altNames: [new x509.GeneralName('ip', '127.0.0.1'), new x509.GeneralName('dns', 'localhost')],
  });
}

function issueAdminPair(ca: CertificateAuthority): Promise<PemPair> {
  return ca.issuePair({
    subject: new x509.Name([{ O: ['system:masters'] }, { CN: [admin.username] }]),
    usages: ['digital signature', 'client auth'],
    altNames: [],
  });
}

function randomToken(): string {
  return `${randomBytes(3).toString('hex')}.${randomBytes(8).toString('hex')}`;
}

function bootstrapOf(options: SandboxOptions, now: Instant): BootstrapToken {
  const token = checkedToken(options.bootstrapToken ?? randomToken());
  if (options.bootstrapTokenSeconds === undefined) return { token };
  const seconds = positive('bootstrapTokenSeconds', options.bootstrapTokenSeconds, 1);
  return { token, expiration: now + seconds * second };
}

function checkedToken(token: string): string {
  if (bootstrapUser(token) !== undefined) return token;
  throw new AgentError(
    'USAGE',
    `the bootstrap token of ${token.length} characters has the wrong form`,
    {
      remedy:
        'Use 6 and 16 characters from a-z and 0-9 with a dot between them: abcdef.0123456789abcdef',
    },
  );
}

function positive(name: string, value: number | undefined, fallback: number): number {
  if (value === undefined) return fallback;
  if (Number.isFinite(value) && value > 0) return value;
  throw new AgentError('USAGE', `${name} is ${value}`, { remedy: 'Give a number above zero' });
}

function ignore(): void {}
