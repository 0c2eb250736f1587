import { X509Certificate } from 'node:crypto';
import { dirname, resolve } from 'node:path';
import * as v from 'valibot';
import type { Instant } from '../core/instant.ts';
import { formatInstant } from '../core/instant.ts';
import { KubeconfigDocument } from '../kube/kubeconfig-document.ts';
import { currentUser } from '../kube/kubeconfig.ts';
import type { Tree } from './tree.ts';

const text = v.nullish(v.string());
const userSchema = v.object({ 'client-certificate': text, 'client-certificate-data': text });

/** Why a kubelet could not authenticate with a kubeconfig, or undefined while nothing speaks against it. */
export async function credentialTrouble(
  tree: Tree,
  kubeconfig: { readonly file: string; readonly bytes: Uint8Array; readonly now: Instant },
): Promise<string | undefined> {
  const { file, bytes, now } = kubeconfig;
  try {
    const document = new KubeconfigDocument(file, new TextDecoder().decode(bytes));
    const user = document.read(userSchema, currentUser(document).at);
    const data = user['client-certificate-data'];
    if (data) return troubleOf('embeds a certificate', Buffer.from(data, 'base64'), now);
    const named = user['client-certificate'];
    if (!named) return undefined;
    const path = resolve(dirname(file), named);
    const pem = await tree.readText(path);
    return pem === undefined
      ? `names ${path}, which does not exist any more`
      : troubleOf(`names ${path}`, pem, now);
  } catch {
    // It was no better when it was copied.
    return undefined;
  }
}

function troubleOf(how: string, pem: Buffer | string, now: Instant): string | undefined {
  const { validToDate } = new X509Certificate(pem);
  const notAfter = validToDate.getTime();
  return now < notAfter ? undefined : `${how} that expired at ${formatInstant(notAfter)}`;
}
