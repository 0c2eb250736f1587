import { dirname } from 'node:path';
import { AgentError } from '../core/errors.ts';
import type { Instant } from '../core/instant.ts';
import { second } from '../core/instant.ts';
import { Secret } from '../core/secret.ts';
import type { Clock } from '../sys/clock.ts';
import type { ClusterAccess } from './cluster-access.ts';
import { isPathForSure } from './kubeconfig-material.ts';
import { readSmallFile } from '../sys/small-file.ts';

/**
 * The token of a credential. A token file is read again after 50 s, half of what
 * the kubelet leaves between renewing a projected token and its end, less some leeway
 * (client-go, transport/token_source.go); a file that went away leaves the last token in use.
 */
export class BearerToken {
  readonly #access: ClusterAccess;
  readonly #clock: Clock;
  #read: { readonly token: Secret; readonly at: Instant } | undefined;

  constructor(access: ClusterAccess, clock: Clock) {
    this.#access = access;
    this.#clock = clock;
  }

  /** The Authorization header, or nothing. HTTP headers are strings, so this one cannot be wiped. */
  async header(fromPlugin?: Secret): Promise<{ authorization?: string }> {
    const token = fromPlugin ?? (await this.#token());
    if (token === undefined) return {};
    const text = new TextDecoder().decode(token.expose()).trim();
    if (!/^[\x21-\x7e]+$/.test(text)) {
      throw new AgentError(
        'KUBECONFIG_INVALID',
        `the token of kubeconfig ${this.#access.path} is empty or has characters no token has`,
        { remedy: 'Put a valid token in its place' },
      );
    }
    return { authorization: `Bearer ${text}` };
  }

  /** Reads the file again for the next request: the server did not accept what it held. */
  refused(): void {
    if (this.#read !== undefined) this.#read = { ...this.#read, at: Number.NEGATIVE_INFINITY };
  }

  async #token(): Promise<Secret | undefined> {
    const { token, tokenFile } = this.#access.credential;
    if (tokenFile === undefined) return token;
    const now = this.#clock.now();
    // A clock set back must not keep an old token for longer either.
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
 * A token pasted where its file belongs looks like a file beside the kubeconfig: what
 * is named there is not repeated.
 */
function unreadable(kubeconfig: string, tokenFile: string, error: unknown): AgentError {
  if (!tokenFile.startsWith(dirname(kubeconfig)) && isPathForSure(tokenFile)) {
    return new AgentError('KUBECONFIG_INVALID', `token file ${tokenFile} cannot be read`, {
      cause: error,
      remedy: `Put a token into ${tokenFile}, readable for the agent`,
    });
  }
  const code = error instanceof Error && 'code' in error ? String(error.code) : 'unreadable';
  return new AgentError(
    'KUBECONFIG_INVALID',
    `the tokenFile of kubeconfig ${kubeconfig} cannot be read (${code})`,
    { remedy: `Put the path of a file with a token into tokenFile of ${kubeconfig}` },
  );
}

const lifetime = 50 * second;

/** HTTP servers take headers of 8 to 64 kB. */
const tokenLimit = 64 * 1024;
