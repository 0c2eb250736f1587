import { GoProcess } from './go-process.ts';

export interface KubeadmDiscovery {
  /** As for `kubeadm join`: `10.0.0.1:6443`. */
  readonly endpoint?: string;
  readonly token?: string;
  readonly pins?: readonly string[];
  /** --discovery-token-unsafe-skip-ca-verification. */
  readonly unsafe?: boolean;
  /** The path or URL of a discovery file, in place of the endpoint. */
  readonly file?: string;
  /** kubeadm repeats every failed request until then, every 5 s. */
  readonly timeoutSeconds?: number;
}

export interface SignedContent {
  readonly content: string;
  readonly id: string;
  readonly secret: string;
}

/** What `kubeadm join` reads in its arguments; empty texts for absent flags. */
export interface KubeadmJoinFlags {
  readonly operands: readonly string[];
  /** `--token`, which stands for the two others. */
  readonly token: string;
  readonly discoveryToken: string;
  readonly bootstrapToken: string;
  readonly pins: readonly string[];
  readonly unsafe: boolean;
  readonly file: string;
  readonly nodeName: string;
  readonly dryRun: boolean;
}

interface Answer {
  readonly error?: string;
  readonly text: string;
  readonly valid: boolean;
  readonly join?: KubeadmJoinFlags;
}

/** The discovery of `kubeadm join`, with kubeadm's own code in a process that answers in order. */
export class KubeadmTwin implements AsyncDisposable {
  readonly #process = new GoProcess<Answer>('kubeadm-discovery');

  /** The kubeconfig that kubeadm writes. @throws Error with kubeadm's message */
  async discover(request: KubeadmDiscovery): Promise<string> {
    return this.#text({ discover: { timeoutSeconds: 3, ...request } });
  }

  /** The detached JWS that the bootstrap signer adds to cluster-info. */
  async sign(content: SignedContent): Promise<string> {
    return this.#text({ sign: content });
  }

  async accepts(signature: string, content: SignedContent): Promise<boolean> {
    return (await this.#process.ask({ verify: { ...content, signature } })).valid;
  }

  /** The hash that kubeadm prints for a CA. */
  async pinOf(certificatePem: string): Promise<string> {
    return this.#text({ pin: base64(certificatePem) });
  }

  /** The kubeconfig in cluster-info, as `kubeadm init` writes it. */
  async clusterInfo(server: string, authorities: string): Promise<string> {
    return this.#text({ clusterInfo: { server, authorities: base64(authorities) } });
  }

  /** @param args the words after `kubeadm join` @throws Error with kubeadm's message */
  async join(args: readonly string[]): Promise<KubeadmJoinFlags> {
    const { error, join } = await this.#process.ask({ join: args });
    if (join === undefined) throw new Error(error);
    return join;
  }

  async #text(question: object): Promise<string> {
    const { error, text } = await this.#process.ask(question);
    if (error !== undefined) throw new Error(error);
    return text;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process[Symbol.asyncDispose]();
  }
}

function base64(text: string): string {
  return Buffer.from(text).toString('base64');
}
