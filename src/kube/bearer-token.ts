import { dirname } from 'node:path';
import { AgentError } from '../core/errors.ts';
import type { Instant } from '../core/instant.ts';
import { second } from '../core/instant.ts';
import { Secret } from '../core/secret.ts';
import type { Clock } from '../sys/clock.ts';
import type { ClusterAccess } from './cluster-access.ts';
import { isClearlyPath } from './kubeconfig-material.ts';
import { readSmallFile } from '../sys/small-file.ts';

/**
 * The token of a credential. A token file is read again after 50s, as in client-go
 * (transport/token_source.go): half of the two minutes between the kubelet's refresh of a
 * projected token and the expiry of the old one, minus 10s of leeway. If the file
 * disappears, the last token stays in use.
 */
export class BearerToken {
  readonly #access: ClusterAccess;
  readonly #clock: Clock;
  #read: { readonly token: Secret; readonly at: Instant } | undefined;

  constructor(access: ClusterAccess, clock: Clock) {
    this.#access = access;
    this.#clock = clock;
  }

  /**
   * The Authorization header, or none. A header is a string, so it cannot be wiped.
   * @param fromPlugin the token of an exec plugin, which takes precedence
   */
  async header(fromPlugin?: Secret): Promise<{ authorization?: string }> {
    const token = fromPlugin ?? (await this.#token());
    if (token === undefined) return {};
    const text = new TextDecoder().decode(token.expose()).trim();
    if (!/^[\x21-\x7e]+$/.test(text)) {
      throw new AgentError(
        'KUBECONFIG_INVALID',
        `the token of kubeconfig ${this.#access.path} is empty or contains characters that are not valid in a token`,
        { remedy: `Replace the token in ${this.#access.path} or in its tokenFile` },
      );
    }
    return { authorization: `Bearer ${text}` };
  }

  /** Call this when the API server rejects the token: the next request reads the file again. */
  invalidate(): void {
    if (this.#read !== undefined) this.#read = { ...this.#read, at: Number.NEGATIVE_INFINITY };
  }

  async #token(): Promise<Secret | undefined> {
    const { token, tokenFile } = this.#access.credential;
    if (tokenFile === undefined) return token;
    const now = this.#clock.now();
    // The absolute value limits the use of an old token also after the clock was set back.
    if (this.#read !== undefined && Math.abs(now - this.#read.at) < lifetime) {
      return this.#read.token;
    }
    try {
      const bytes = await readSmallFile(tokenFile, tokenLimit);
      this.#read?.token.wipe();
      this.#read = { token: new Secret(bytes), at: now };
      return this.#read.token;
    } catch (error) {
      const fallback = this.#read?.token ?? token;
      if (fallback !== undefined) return fallback;
      throw unreadable(this.#access.path, tokenFile, error);
    }
  }
}

/**
 * If an administrator pasted the token in place of its path, the token resolves to a file in
 * the folder of the kubeconfig. So the error does not repeat a path in that folder.
 */
function unreadable(kubeconfig: string, tokenFile: string, error: unknown): AgentError {
  if (!tokenFile.startsWith(dirname(kubeconfig)) && isClearlyPath(tokenFile)) {
    return new AgentError('KUBECONFIG_INVALID', `token file ${tokenFile} cannot be read`, {
      cause: error,
      remedy: `Write a token to ${tokenFile} and make the file readable for nodecertd`,
    });
  }
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'unreadable';
  return new AgentError(
    'KUBECONFIG_INVALID',
    `the tokenFile of kubeconfig ${kubeconfig} cannot be read (${code})`,
    { remedy: `Set tokenFile in ${kubeconfig} to the path of a file with a token` },
  );
}

const lifetime = 50 * second;

/** HTTP servers accept headers of 8 to 64 kB. */
const tokenLimit = 64 * 1024;
