import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Sandbox } from '../sandbox.ts';
import { startSandbox } from '../sandbox.ts';
import { systemClock } from '../../../src/sys/clock.ts';

export interface SessionOptions {
  readonly lifetimeSeconds: number;
  /** 0 selects a free port. */
  readonly port: number;
  /** This folder is kept. Without it, a temporary folder is created and removed. */
  readonly directory?: string;
}

/** A running sandbox with its kubeconfigs. */
export interface SandboxSession extends AsyncDisposable {
  readonly sandbox: Sandbox;
  readonly server: string;
  readonly directory: string;
  /** Whether the folder stays when the session ends. */
  readonly kept: boolean;
  readonly bootstrapKubeconfig: string;
  readonly adminKubeconfig: string;
}

/** Starts a sandbox that approves every certificate of a node, and writes its kubeconfigs. */
export async function openSession(options: SessionOptions): Promise<SandboxSession> {
  const kept = options.directory === undefined ? undefined : resolve(options.directory);
  const directory = kept ?? (await mkdtemp(join(tmpdir(), 'nodecertd-sandbox-')));
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const sandbox = await startSandbox({
    clock: systemClock,
    port: options.port,
    signingSeconds: options.lifetimeSeconds,
    approvingServing: true,
  });
  const bootstrapKubeconfig = join(directory, 'bootstrap-kubelet.conf');
  const adminKubeconfig = join(directory, 'admin.conf');
  await writeFile(bootstrapKubeconfig, sandbox.bootstrapKubeconfig(), { mode: 0o600 });
  await writeFile(adminKubeconfig, sandbox.adminKubeconfig(), { mode: 0o600 });
  return {
    sandbox,
    server: sandbox.server,
    directory,
    kept: kept !== undefined,
    bootstrapKubeconfig,
    adminKubeconfig,
    [Symbol.asyncDispose]: async () => {
      await sandbox[Symbol.asyncDispose]();
      if (kept === undefined) await rm(directory, { recursive: true, force: true });
    },
  };
}
