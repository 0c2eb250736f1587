import { GoProcess } from '../../support/go-process.ts';

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
  readonly #process = new GoProcess<GoAnswer>('fault-signer');

  async request(request: Uint8Array, usages: readonly string[]): Promise<GoAnswer> {
    return this.#process.ask({ request: Buffer.from(request).toString('base64'), usages });
  }

  /** @param certificate PEM in base64, as in the status of a CSR */
  async certificate(certificate: string): Promise<GoAnswer> {
    return this.#process.ask({ certificate });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process[Symbol.asyncDispose]();
  }
}
