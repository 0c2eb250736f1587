import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ClusterAccess } from '../../../src/kube/cluster-access.ts';
import { loadKubeconfig } from '../../../src/kube/kubeconfig.ts';
import type { KubeClientOptions } from '../../../src/kube/rest-client.ts';
import { KubeClient } from '../../../src/kube/rest-client.ts';
import { systemClock } from '../../../src/sys/clock.ts';
import { unlessMissing } from '../../../src/sys/file-error.ts';
import type { ApiServer } from './api-server.ts';
import { base64, kubeconfigText, temporaryFolder } from './api-server.ts';

export const v1 = 'client.authentication.k8s.io/v1';

/** An ExecCredential as a plugin prints it. */
export function execCredential(status: object, apiVersion = v1): string {
  return JSON.stringify({ kind: 'ExecCredential', apiVersion, status });
}

/** A folder with a kubeconfig, and the shell script that its exec entry names. */
export class PluginNode implements AsyncDisposable {
  readonly #folder: AsyncDisposable & { readonly path: string };

  private constructor(folder: AsyncDisposable & { readonly path: string }) {
    this.#folder = folder;
  }

  static async create(): Promise<PluginNode> {
    return new PluginNode(await temporaryFolder());
  }

  path(name: string): string {
    return join(this.#folder.path, name);
  }

  /** The plugin prints this, and each run adds a line to the file `runs`. */
  async answer(output: string): Promise<void> {
    await writeFile(this.path('answer'), output);
    await this.script('echo run >> runs && cat answer');
  }

  async script(body: string, mode = 0o755): Promise<void> {
    await this.file('plugin', `#!/bin/sh\ncd "${this.#folder.path}" || exit 9\n${body}\n`, mode);
  }

  async file(name: string, text: string, mode: number): Promise<void> {
    await writeFile(this.path(name), text);
    await chmod(this.path(name), mode);
  }

  async runs(): Promise<number> {
    const text = await unlessMissing(() => readFile(this.path('runs'), 'utf8'));
    return (text ?? '').split('\n').length - 1;
  }

  async kubeconfig(
    server: ApiServer,
    exec: object = {},
    cluster: Readonly<Record<string, unknown>> = {},
  ): Promise<ClusterAccess> {
    const path = this.path('kubeconfig');
    const user = {
      exec: { apiVersion: v1, command: './plugin', interactiveMode: 'Never', ...exec },
    };
    const authority = base64(server.authority.pem);
    const text = kubeconfigText({
      cluster: { server: server.url, 'certificate-authority-data': authority, ...cluster },
      user,
    });
    await writeFile(path, text, { mode: 0o600 });
    return loadKubeconfig(path);
  }

  async client(
    server: ApiServer,
    options: Partial<KubeClientOptions> & { readonly exec?: object } = {},
  ): Promise<KubeClient> {
    const { exec, ...rest } = options;
    const access = await this.kubeconfig(server, exec);
    return KubeClient.open({ access, version: '1.2.3', clock: systemClock, ...rest });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#folder[Symbol.asyncDispose]();
  }
}
