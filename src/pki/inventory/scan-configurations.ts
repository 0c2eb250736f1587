import * as v from 'valibot';
import { describeError } from '../../core/errors.ts';
import { withoutSecrets } from '../../core/printable.ts';
import { exists } from '../../sys/exists.ts';
import { readText } from '../components/text-file.ts';
import { parseDocuments } from '../components/yaml-documents.ts';
import { readCertificates } from './certificate-file.ts';
import type { ScanRecord } from './scan-record.ts';
import type { Gap } from './sighting.ts';

const text = v.nullish(v.string(), '');

/** AuthenticationConfiguration (apiserver.config.k8s.io): each issuer of tokens may embed its CAs. */
const schema = v.looseObject({
  jwt: v.nullish(
    v.array(v.looseObject({ issuer: v.looseObject({ url: text, certificateAuthority: text }) })),
    [],
  ),
});

/** Adds the CAs that an AuthenticationConfiguration embeds. */
export async function addAuthenticationConfiguration(
  record: ScanRecord,
  path: string,
): Promise<void> {
  if (!record.take(path)) return;
  const gap = {
    name: path,
    section: 'other',
    place: { path },
    usedBy: record.usesOf({ path }),
  } as const;
  if (!(await exists(path))) {
    return record.addGap({ ...gap, state: 'missing', reason: 'does not exist' });
  }
  try {
    const found = v.safeParse(schema, parseDocuments(await readText(path)).first);
    if (!found.success) {
      const reason = 'is not an AuthenticationConfiguration';
      return record.addGap({ ...gap, state: 'unreadable', reason });
    }
    for (const { issuer } of found.output.jwt ?? []) {
      if (issuer.certificateAuthority) addIssuer(record, gap, issuer);
    }
  } catch (error) {
    record.addGap({ ...gap, state: 'unreadable', reason: describeError(error) });
  }
}

function addIssuer(
  record: ScanRecord,
  { name: path, ...gap }: Omit<Gap, 'state' | 'reason'>,
  issuer: { readonly url?: string | null; readonly certificateAuthority?: string | null },
): void {
  const entry = `issuer ${withoutSecrets(issuer.url ?? '', 120)}`;
  const content = readCertificates(Buffer.from(issuer.certificateAuthority ?? ''));
  if (typeof content === 'string') {
    const reason = `embeds a certificateAuthority that ${content}`;
    const row = { ...gap, name: `${path} (${entry})`, place: { path, entry } };
    return record.addGap({ ...row, state: 'unreadable', reason });
  }
  const { certificates } = content;
  for (const [at, certificate] of certificates.entries()) {
    const position = certificates.length === 1 ? '' : `, ${at + 1} of ${certificates.length}`;
    const place = { path, entry: `${entry}${position}` };
    record.add({ ...gap, name: `${path} (${place.entry})`, place, certificate });
  }
}
