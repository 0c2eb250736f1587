import * as v from 'valibot';
import type { Impersonation } from './cluster-access.ts';
import type { KeyPath, KubeconfigDocument } from './kubeconfig-document.ts';

const keys = ['as', 'as-uid', 'as-groups', 'as-user-extra'] as const;

const schema = v.object({
  as: v.nullish(v.string(), ''),
  'as-uid': v.nullish(v.string(), ''),
  'as-groups': v.nullish(v.array(v.string()), []),
  'as-user-extra': v.nullish(v.record(v.string(), v.nullish(v.array(v.string()), [])), {}),
});

/**
 * The identity that a kubeconfig user impersonates.
 * @throws AgentError KUBECONFIG_INVALID
 */
export function readImpersonation(
  document: KubeconfigDocument,
  at: KeyPath,
): Impersonation | undefined {
  const fields = document.read(schema, at);
  for (const key of keys) requireHeaderText(document, [...at, key], fields[key]);
  const found = {
    user: fields.as ?? '',
    uid: fields['as-uid'] ?? '',
    groups: fields['as-groups'] ?? [],
    extra: fields['as-user-extra'] ?? {},
  };
  if (found.user !== '') return found;
  const alone = [found.uid, found.groups, Object.keys(found.extra)].findIndex(
    ({ length }) => length > 0,
  );
  if (alone === -1) return undefined;
  throw document.failure('KUBECONFIG_INVALID', [...at, keys[alone + 1] ?? 'as'], {
    message: 'is set, but "as" names no user to impersonate',
    remedy: `Add "as" with the name of the user, or remove ${keys[alone + 1]}`,
  });
}

/** A control character would end the header, or the server would reject the request without naming the key. */
function requireHeaderText(document: KubeconfigDocument, at: KeyPath, value: unknown): void {
  const texts = typeof value === 'string' ? [value] : Object.values(value ?? {}).flat();
  // oxlint-disable-next-line no-control-regex
  if (!texts.some((text) => /[\x00-\x08\x0a-\x1f\x7f]/.test(String(text)))) return;
  throw document.failure('KUBECONFIG_INVALID', at, {
    message: 'contains a control character, which is not valid in an HTTP header',
  });
}

/**
 * The headers that client-go sends (transport/round_trippers.go): one line for each value,
 * values in UTF-8, and the names of extra fields escaped because header names are ASCII.
 */
export function impersonationHeaders(
  impersonation: Impersonation | undefined,
): Record<string, string | string[]> {
  if (impersonation === undefined) return {};
  const { user, uid, groups, extra } = impersonation;
  const lines = Object.entries(extra).map(([key, values]) => [
    `Impersonate-Extra-${escapeKey(key)}`,
    (values ?? []).map(utf8),
  ]);
  return {
    'Impersonate-User': utf8(user),
    ...(uid !== '' && { 'Impersonate-Uid': utf8(uid) }),
    ...(groups.length > 0 && { 'Impersonate-Group': groups.map(utf8) }),
    ...(Object.fromEntries(lines) as Record<string, string[]>),
  };
}

/** undici writes a header in Latin-1: one character for each byte. */
function utf8(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1');
}

/** Percent-encodes every character that is not valid in an HTTP token (RFC 9110, section 5.6.2), and the percent sign. */
function escapeKey(key: string): string {
  return utf8(key).replace(
    /[^!#$&'*+\-.^_`|~0-9A-Za-z]/g,
    (byte) => `%${byte.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`,
  );
}
