import * as v from 'valibot';
import { hasCode } from '../core/errors.ts';
import type { Instant } from '../core/instant.ts';
import type { Secret } from '../core/secret.ts';
import type { KubeClient } from './rest-client.ts';

/** What the cluster keeps of a bootstrap token, but for its secret half. */
export interface BootstrapTokenRecord {
  /** Absent: it never expires. */
  readonly expiration?: Instant;
  readonly forAuthentication: boolean;
}

/** The public half of `abcdef.0123456789abcdef`; undefined for a token of another kind. */
export function bootstrapTokenId(token: Secret): string | undefined {
  const text = Buffer.from(token.expose()).toString('latin1').trim();
  return /^([a-z0-9]{6})\.[a-z0-9]{16}$/.exec(text)?.[1];
}

/**
 * When a JSON web token (a service account's, or one from OIDC) expires: the `exp`
 * claim of RFC 7519 4.1.4. The signature is for the API server to check. Undefined
 * for what is no JWT or has no end.
 */
export function jwtExpiry(token: Secret): Instant | undefined {
  const text = Buffer.from(token.expose()).toString('latin1').trim();
  const payload = /^[\w-]+\.([\w-]+)\.[\w-]*$/.exec(text)?.[1];
  if (payload === undefined) return undefined;
  try {
    const claims = v.safeParse(
      v.object({ exp: v.pipe(v.number(), v.minValue(0), v.maxValue(lastSecond)) }),
      JSON.parse(Buffer.from(payload, 'base64url').toString('utf8')),
    );
    return claims.success ? claims.output.exp * 1_000 : undefined;
  } catch {
    return undefined;
  }
}

/** The last one that a Date can hold: a claim may be any number. */
const lastSecond = 8.64e12;

const field = v.nullish(v.string());
const secretSchema = v.object({
  data: v.nullish(v.object({ expiration: field, 'usage-bootstrap-authentication': field }), {}),
});

/**
 * The Secret behind a bootstrap token. Neither bootstrappers nor nodes may read it,
 * so mostly this takes a kubeconfig of an administrator.
 * @returns 'absent' when there is none, 'forbidden' when the client may not look
 * @throws AgentError as KubeClient.request
 */
export async function readBootstrapToken(
  client: Pick<KubeClient, 'request'>,
  id: string,
  signal: AbortSignal,
): Promise<BootstrapTokenRecord | 'absent' | 'forbidden'> {
  const path = `/api/v1/namespaces/kube-system/secrets/bootstrap-token-${id}`;
  try {
    const { data } = await client.request({ verb: 'get', path, signal }, secretSchema);
    const expiration = Date.parse(decoded(data.expiration));
    return {
      forAuthentication: decoded(data['usage-bootstrap-authentication']) === 'true',
      ...(!Number.isNaN(expiration) && { expiration }),
    };
  } catch (error) {
    if (hasCode(error, 'API_NOT_FOUND')) return 'absent';
    if (hasCode(error, 'API_FORBIDDEN')) return 'forbidden';
    throw error;
  }
}

function decoded(value: string | null | undefined): string {
  return Buffer.from(value ?? '', 'base64').toString('utf8');
}
