import { spawn } from 'node:child_process';
import type { ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';
import { goProgram } from '../../support/go-program.ts';

/** What Go reads in a request or certificate. */
export interface GoReading {
  /** The type and the value of each attribute. */
  readonly subject: readonly (readonly [string, string])[];
  readonly dns: readonly string[];
  readonly ips: readonly string[];
  /** The number of e-mail addresses and URIs. */
  readonly others: number;
  readonly extensions: readonly string[];
  /** SHA-256 over the SubjectPublicKeyInfo. */
  readonly keyDigest: string;
  readonly keyUsage: number;
  readonly extKeyUsage: readonly number[] | null;
  readonly isCA: boolean;
}

export type GoAnswer =
  | { readonly error: string }
  /** `issued` is the certificate that the code of the signer made of the request. */
  | { readonly error?: undefined; readonly read: GoReading; readonly issued?: GoReading };

/** The signer's code and crypto/x509 in a process that answers in order. */
export class SignerJudge implements AsyncDisposable {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #waiting: PromiseWithResolvers<GoAnswer>[] = [];

  constructor() {
    this.#child = spawn(goProgram('fault-signer'), { stdio: ['pipe', 'pipe', 'inherit'] });
    createInterface({ input: this.#child.stdout }).on('line', (line) => {
      this.#waiting.shift()?.resolve(JSON.parse(line) as GoAnswer);
    });
    this.#child.on('exit', (code) => {
      for (const { reject } of this.#waiting) reject(new Error(`fault-signer ended with ${code}`));
    });
  }

  async request(request: Uint8Array, usages: readonly string[]): Promise<GoAnswer> {
    return this.#ask({ request: Buffer.from(request).toString('base64'), usages });
  }

  /** @param certificate PEM in base64, as in the status of a CSR */
  async certificate(certificate: string): Promise<GoAnswer> {
    return this.#ask({ certificate });
  }

  async #ask(question: object): Promise<GoAnswer> {
    const answer = Promise.withResolvers<GoAnswer>();
    this.#waiting.push(answer);
    this.#child.stdin.write(`${JSON.stringify(question)}\n`);
    return answer.promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const exited = once(this.#child, 'exit');
    this.#child.stdin.end();
    await exited;
  }
}
