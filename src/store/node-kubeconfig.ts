import { dirname, isAbsolute, join } from 'node:path';
import * as v from 'valibot';
import { parse } from 'yaml';
import type { AgentConfig } from '../core/config.ts';
import type { Finding } from '../core/enroller-protocol.ts';
import { AgentError } from '../core/errors.ts';
import { second } from '../core/instant.ts';
import type { Clock } from '../sys/clock.ts';
import { makeDirectory, removeStrays, replaceFile } from './atomic-file.ts';
import { keepCopy } from './kept-copies.ts';
import type { KubeconfigFile } from './kubeconfig-recognition.ts';
import { readKubeconfigFile } from './kubeconfig-recognition.ts';
import type { KubeconfigCluster } from './kubeconfig-text.ts';
import { kubeletKubeconfig } from './kubeconfig-text.ts';
import { linkTarget } from './link-target.ts';

export interface NodeKubeconfigOptions {
  readonly config: Pick<AgentConfig, 'kubeconfig' | 'stateDirectory' | 'nodeName'>;
  /** The `-current.pem` link of the client certificate. */
  readonly certificatePath: string;
  readonly clock: Clock;
}

/**
 * The kubeconfig with which the kubelet and the agent use the client certificate. Replaces only
 * the kubeconfig of this node, and remembers its last intact text, to restore a file that a hard
 * reset has emptied or cut off.
 *
 * The remembered text has its own file with mode 0600, because every user can read state.json
 * and `proxy-url` may contain a password. Only a kubeconfig that names the key pair is
 * remembered, so the file contains no key and no token.
 */
export class NodeKubeconfig {
  readonly path: string;
  /** The file with the remembered text, which is a valid kubeconfig. */
  readonly rememberedFile: string;
  readonly #options: NodeKubeconfigOptions;

  constructor(options: NodeKubeconfigOptions) {
    this.#options = options;
    this.path = options.config.kubeconfig;
    this.rememberedFile = join(options.config.stateDirectory, 'kubeconfig');
  }

  /**
   * Reads the file at the path and changes nothing, so `doctor` and `status` can use it.
   * @param clusters clusters for which the agent may have written the file, besides the
   * remembered text
   * @throws AgentError STORE_PERMISSIONS, STORE_IO
   */
  async inspect(clusters: readonly KubeconfigCluster[] = []): Promise<KubeconfigFile> {
    const remembered = await this.#remembered();
    const known = [
      ...(remembered === undefined ? [] : [remembered]),
      ...clusters.map((cluster) => this.#contentFor(cluster)),
    ];
    return readKubeconfigFile(this.path, this.#owner, known);
  }

  /** @throws AgentError KUBECONFIG_INVALID if another kind of file is at the path */
  async requireReplaceable(clusters: readonly KubeconfigCluster[] = []): Promise<void> {
    const found = await this.inspect(clusters);
    if (found.kind === 'foreign') throw refusal(this.path, found.found);
  }

  /** Whether a missing or corrupt file can be written again. */
  async canRecover(clusters: readonly KubeconfigCluster[]): Promise<boolean> {
    return clusters.length > 0 || (await this.#remembered()) !== undefined;
  }

  /**
   * Remembers the kubeconfig for a cluster that no file of the node names. If the agent is killed
   * between storing the first certificate and `write`, `recover` needs it.
   */
  async prepare(cluster: KubeconfigCluster): Promise<void> {
    await this.#remember(this.#contentFor(cluster));
  }

  /** @throws AgentError KUBECONFIG_INVALID if another kind of file is at the path; STORE_* */
  async write(cluster: KubeconfigCluster): Promise<Finding[]> {
    return this.#put(this.#contentFor(cluster), await this.inspect([cluster]));
  }

  /**
   * Writes a missing or corrupt kubeconfig again, and remembers an intact one. A corrupt file
   * gets its remembered text. A missing file gets the cluster of the bootstrap kubeconfig if
   * there is one, because an administrator may have removed the file to change the cluster.
   * @param loadCluster loads the cluster of the bootstrap kubeconfig; not called for an intact file
   * @throws AgentError STORE_*, ABORTED
   */
  async recover(
    loadCluster: () => Promise<KubeconfigCluster | undefined>,
    signal: AbortSignal,
  ): Promise<Finding[]> {
    const present = await this.inspect();
    if (present.kind === 'own') return this.#leaveIntact(present);
    const cluster = await loadCluster();
    const found = await this.#inspectFinished(cluster === undefined ? [] : [cluster], signal);
    if (found.kind === 'foreign') return [];
    if (found.kind === 'own') return this.#leaveIntact(found);
    const remembered = await this.#remembered();
    const bootstrapped = cluster === undefined ? undefined : this.#contentFor(cluster);
    const content =
      found.kind === 'corrupt' ? (remembered ?? bootstrapped) : (bootstrapped ?? remembered);
    return content === undefined ? [] : this.#put(content, found);
  }

  async #leaveIntact(intact: Extract<KubeconfigFile, { kind: 'own' }>): Promise<Finding[]> {
    if (intact.namesPair) await this.#remember(intact.bytes);
    return [];
  }

  /**
   * An editor that writes in place leaves the file empty or cut off for a moment. A recovery in
   * that moment would lose the text that the editor is writing.
   */
  async #inspectFinished(
    clusters: readonly KubeconfigCluster[],
    signal: AbortSignal,
  ): Promise<KubeconfigFile> {
    const { clock } = this.#options;
    const found = await this.inspect(clusters);
    if (found.kind !== 'corrupt') return found;
    const wait = writeTime - Math.abs(clock.now() - found.modifiedAt);
    if (wait <= 0) return found;
    await clock.sleep(wait, signal);
    return this.inspect(clusters);
  }

  async #put(content: Uint8Array, found: KubeconfigFile): Promise<Finding[]> {
    if (found.kind === 'foreign') throw refusal(this.path, found.found);
    const findings: Finding[] = [];
    if (found.kind !== 'own' || Buffer.compare(found.bytes, content) !== 0) {
      const target = await linkTarget(this.path);
      await makeDirectory(dirname(target));
      if (found.kind !== 'missing') findings.push(await this.#keepPrevious(target, found));
      await removeStrays(target);
      await replaceFile(target, content, 0o600);
      if (found.kind !== 'own') {
        const detail = `for the client certificate ${this.#options.certificatePath}`;
        findings.push({ kind: 'kubeconfig-written', path: this.path, detail });
      }
    }
    await this.#remember(content);
    return findings;
  }

  async #keepPrevious(
    target: string,
    found: Extract<KubeconfigFile, { kind: 'own' | 'corrupt' }>,
  ): Promise<Finding> {
    const { path } = this;
    if (found.kind === 'corrupt' && found.reason === 'is empty') {
      return { kind: 'kubeconfig-set-aside', path, detail: 'the file is empty' };
    }
    const copy = await keepCopy(target, found.bytes, this.#options.clock.now());
    return found.kind === 'own'
      ? { kind: 'kubeconfig-replaced', path, detail: `the previous file is kept as ${copy}` }
      : { kind: 'kubeconfig-set-aside', path: copy, detail: `${path} ${found.reason}` };
  }

  #contentFor(cluster: KubeconfigCluster): Uint8Array {
    const { certificatePath } = this.#options;
    return Buffer.from(kubeletKubeconfig({ cluster, certificatePath }));
  }

  get #owner(): { readonly nodeName: string; readonly certificatePath: string } {
    const { config, certificatePath } = this.#options;
    return { nodeName: config.nodeName, certificatePath };
  }

  /** Undefined if the remembered text is corrupt or names another key pair. */
  async #remembered(): Promise<Uint8Array | undefined> {
    const found = await readKubeconfigFile(this.rememberedFile, this.#owner, []).catch(
      () => undefined,
    );
    return found?.kind === 'own' && found.namesPair ? found.bytes : undefined;
  }

  /** Ignores a failure: it only prevents a later recovery of the kubeconfig. */
  async #remember(content: Uint8Array): Promise<void> {
    const remembered = await this.#remembered();
    if (remembered !== undefined && Buffer.compare(remembered, content) === 0) return;
    if (!isSelfContained(content)) return;
    try {
      await makeDirectory(dirname(this.rememberedFile));
      await removeStrays(this.rememberedFile);
      await replaceFile(this.rememberedFile, content, 0o600);
    } catch {}
  }
}

/** Longer than a program takes to write a kubeconfig. */
const writeTime = 2 * second;

function refusal(path: string, found: string): AgentError {
  return new AgentError(
    'KUBECONFIG_INVALID',
    `${path} is ${found}; nodecertd overwrites only the kubeconfig of this node`,
    {
      remedy: `Set kubeconfig (--kubeconfig) to the path of the kubelet's kubeconfig, or move ${path} away`,
    },
  );
}

const pathsOnly = v.looseObject({
  clusters: v.strictTuple([
    v.looseObject({
      cluster: v.looseObject({
        'certificate-authority': v.nullish(v.pipe(v.string(), v.check(isAbsolute))),
      }),
    }),
  ]),
  users: v.strictTuple([
    v.looseObject({
      user: v.strictObject({
        'client-certificate': v.pipe(v.string(), v.check(isAbsolute)),
        'client-key': v.pipe(v.string(), v.check(isAbsolute)),
      }),
    }),
  ]),
});

/**
 * True if all paths are absolute and the user contains no secret, so that the text can be
 * remembered in another directory.
 */
function isSelfContained(content: Uint8Array): boolean {
  return v.is(pathsOnly, parse(new TextDecoder().decode(content)));
}
