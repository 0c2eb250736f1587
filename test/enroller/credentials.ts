import assert from 'node:assert/strict';
import type { ApiAccess } from '../../src/enroller/api-access.ts';
import { whoAmI } from '../../src/kube/access-review.ts';
import { base64 } from '../kube/support/api-server.ts';
import type { Sandbox } from '../sandbox/sandbox.ts';

/** The user of the next attempt, without the ID of a bootstrap token. */
export async function userOf(access: ApiAccess): Promise<string> {
  await access.ready();
  const found = await whoAmI(access.current(), new AbortController().signal);
  return found === 'unknown' ? found : found.username.replace(/:[a-z0-9]{6}$/, '');
}

/** The same cluster with a CA that it does not have. */
export function withOldCa(kubeconfig: string, { caPem, customCaPem }: Sandbox): string {
  const text = kubeconfig.replace(base64(caPem), base64(customCaPem));
  assert.notEqual(text, kubeconfig);
  return text;
}
