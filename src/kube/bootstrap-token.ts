import * as v from 'valibot';
import { hasCode } from '../core/errors.ts';
import type { Instant } from '../core/instant.ts';
import type { Secret } from '../core/secret.ts';
import type { KubeClient } from './rest-client.ts';

/** The Secret of a bootstrap token in the cluster, without the secret part. */
export interface BootstrapTokenRecord {
  /** Absent if the token never expires. */
  readonly expiration?: Instant;
  readonly forAuthentication: boolean;
}

/** The id of a bootstrap token, `abcdef` of `abcdef.0123456789abcdef`; undefined for other tokens. */
export function bootstrapTokenId(token: Secret): string | undefined {
  const text = Buffer.from(token.expose()).toString('latin1').trim();
  return /^([a-z0-9]{6})\.[a-z0-9]{16}$/.exec(text)?.[1];
}

/**
 * The expiry of a JSON Web Token of a service account or an OIDC provider (`exp`, RFC 7519,
 * section 4.1.4). Undefined for other tokens, and without `exp`. Does not verify the
 * signature, because only the API server can.
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

/** The last second that a Date can represent. A claim can contain any number. */
const lastSecond = 8.64e12;

const field = v.nullish(v.string());
const secretSchema = v.object({
  data: v.nullish(v.object({ expiration: field, 'usage-bootstrap-authentication': field }), {}),
});

/**
 * Reads the Secret of a bootstrap token. Bootstrap tokens and nodes usually have no right
 * to read it, so this needs the kubeconfig of an administrator.
 * @returns 'absent' if the Secret does not exist, 'forbidden' if the client has no right to read it
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
