import { AgentError } from '../../../core/errors.ts';
import type { Instant } from '../../../core/instant.ts';
import { formatInstant } from '../../../core/instant.ts';
import { encodeCertificates } from '../../../core/pem.ts';
import type { AuthorityFile } from '../../../pki/renewal/authority.ts';
import type { ChainCertificate } from '../../../pki/renewal/certificate-chain.ts';
import {
  haveSameKey,
  readCertificates,
  subjectOf,
} from '../../../pki/renewal/certificate-chain.ts';
import { describeKind, exportKey, readKeyFile } from '../../../pki/renewal/key-file.ts';
import { changeOf, plannedFile } from '../../../pki/renewal/planned-file.ts';
import { readAuthorityFile } from '../../../pki/renewal/renewal-plan.ts';
import { requireSigningKey } from '../../../pki/renewal/signature.ts';
import { readContent } from '../../../store/file-content.ts';
import type { NewChange } from '../../../store/run-folder.ts';
import type { AuthorityPair } from '../new-authority.ts';
import { bridgeObstacle, createAuthority, createBridge, isBridge } from '../new-authority.ts';
import type { NextAuthority, PairPaths } from '../next-authority.ts';
import { nextPaths, nextPathsInWords, readPair } from '../next-authority.ts';
import type { CaPlaces, NodePlaces } from '../node-files.ts';
import { authorityNameOf, caPath } from '../node-files.ts';
import type { FileTask, NewFiles } from '../task.ts';
import type { ChosenAuthority, NewAuthorityOptions } from './chosen-authority.ts';
import { chooseAuthority } from './chosen-authority.ts';

export interface CreateRequest extends NodePlaces {
  readonly now: Instant;
}

/** The files of the step `create` on this node. */
export interface CreatePlan {
  /** Absent after the step `switch`, when the old CA no longer issues a bridge. */
  readonly task?: FileTask;
  /** The CA that signs now: the old CA until the step `switch`. */
  readonly signing: ChainCertificate;
  /** The new CA. Absent if the task creates it. */
  readonly next?: ChainCertificate;
  /** Why the new CA gets no bridge. */
  readonly withoutBridge?: string;
}

/**
 * Plans the new CA and the bridge. A CA that exists already stays, and gets a bridge if it has none.
 * @throws AgentError CA_EXTERNAL without the key of the old CA, TRUST_REFUSED for an unsuitable CA,
 * CERT_*, PAIR_MALFORMED, KEY_UNSUPPORTED, STORE_*
 */
export async function planCreate(
  request: CreateRequest,
  options: NewAuthorityOptions,
): Promise<CreatePlan> {
  const { ca, directories, now } = request;
  const files = await nextPaths(request);
  const trusted = await readAuthorityFile(authorityNameOf[ca], directories);
  const [signing, ...others] = trusted.certificates;
  if (signing === undefined) throw withoutCertificate(trusted);
  const remedy = `Copy both files from the node where the CA was created, or delete both: rm -f ${files.certificate} ${files.key}`;
  const existing = await readPair(files, remedy);
  if (existing !== undefined && haveSameKey(existing.certificate, signing)) {
    return { signing, next: existing.certificate };
  }
  if (existing === undefined && others.length > 0) throw begunAlready(trusted, request);
  const old = files.key === undefined ? undefined : await readOld(signing, trusted);
  const next = await chooseAuthority(existing, options, { ca, old: signing, now, files });
  const withoutBridge = ca === 'kubernetes' ? bridgeObstacle(signing, now) : undefined;
  const hasBridge = ca === 'kubernetes' && withoutBridge === undefined;
  const task = await createTask(next, { ...request, files, ...(old && { old }), hasBridge });
  return {
    task,
    signing,
    ...(next.kind !== 'created' && { next: next.pair.certificate }),
    ...(withoutBridge !== undefined && { withoutBridge }),
  };
}

function withoutCertificate({ path }: AuthorityFile): AgentError {
  return new AgentError('PAIR_MALFORMED', `${path} contains no certificate`, {
    remedy: `Restore ${path} from a backup`,
  });
}

function begunAlready({ path }: AuthorityFile, places: CaPlaces): AgentError {
  return new AgentError(
    'TRUST_REFUSED',
    `${path} has more than one CA, so a rollover has begun, and this node lacks the files of the new CA`,
    { remedy: `Copy ${nextPathsInWords(places)} from another control-plane node` },
  );
}

async function readOld(
  certificate: ChainCertificate,
  { path, keyPath }: AuthorityFile,
): Promise<AuthorityPair> {
  const key = await readKeyFile(keyPath);
  if (key === undefined) {
    throw new AgentError('CA_EXTERNAL', `the key of the old CA, ${keyPath}, does not exist`, {
      remedy:
        'Run this command on a control-plane node that has the key. For a CA whose key is elsewhere, see "An external CA" in docs/ca-rollover.md',
    });
  }
  requireSigningKey(key, keyPath);
  if (certificate.openssl.checkPrivateKey(key)) return { certificate, key };
  throw new AgentError(
    'CERT_KEY_MISMATCH',
    `${keyPath} is not the key of the first certificate in ${path}`,
    { remedy: `Restore ${path} and ${keyPath} from one backup` },
  );
}

interface TaskRequest extends CreateRequest {
  readonly files: PairPaths;
  /** Absent if its key is elsewhere. */
  readonly old?: AuthorityPair;
  /** Whether the old CA can issue a bridge. */
  readonly hasBridge: boolean;
}

async function createTask(next: ChosenAuthority, request: TaskRequest): Promise<FileTask> {
  const bridge = {
    path: caPath(request, 'bridge'),
    content: 'the bridge: the key of the new CA, certified by the old CA',
  };
  const needsBridge = request.hasBridge && !(await isBridged(next, request));
  const files = [...pairTexts(next, request.files), ...(needsBridge ? [bridge] : [])];
  const isNew = next.kind !== 'existing';
  return {
    kind: 'files',
    name: 'new CA',
    files,
    make: async () => {
      const pair = next.kind === 'created' ? await createAuthority(next.request) : next.pair;
      return newFiles(pair, { ...request, isNew, needsBridge });
    },
  };
}

async function isBridged(next: ChosenAuthority, { old, ...places }: TaskRequest): Promise<boolean> {
  if (next.kind !== 'existing' || old === undefined) return false;
  const content = await readContent(caPath(places, 'bridge'));
  if (content === undefined) return false;
  // A file that cannot be parsed is written again.
  const found = await readCertificates(content.bytes).catch(() => []);
  const [bridge] = found;
  if (bridge === undefined || found.length > 1) return false;
  return isBridge(bridge, { next: next.pair.certificate, old: old.certificate });
}

function pairTexts(next: ChosenAuthority, { certificate, key }: PairPaths): FileTask['files'] {
  switch (next.kind) {
    case 'existing':
      return [];
    case 'imported':
      return [
        ...(key === undefined ? [] : [{ path: key, content: 'the key of the imported CA' }]),
        { path: certificate, content: `the imported CA ${describe(next.pair.certificate)}` },
      ];
    case 'created': {
      const { commonName, lifetimeMs, now, key: kind } = next.request;
      const end = formatInstant(now + lifetimeMs);
      return [
        ...(key === undefined ? [] : [{ path: key, content: `a new key (${describeKind(kind)})` }]),
        { path: certificate, content: `a new CA (CN=${commonName}, expires ${end})` },
      ];
    }
    default:
      return next satisfies never;
  }
}

function describe(certificate: ChainCertificate): string {
  return `(${subjectOf(certificate)}, expires ${formatInstant(certificate.facts.notAfter)})`;
}

interface WantedFiles extends TaskRequest {
  readonly isNew: boolean;
  readonly needsBridge: boolean;
}

/** The key comes first, so that the certificate never lies without its key. */
async function newFiles(
  { certificate, key }: NextAuthority,
  { files: paths, old, now, isNew, needsBridge, ...places }: WantedFiles,
): Promise<NewFiles> {
  const changes: NewChange[] = [];
  const add = async (path: string, bytes: Uint8Array<ArrayBuffer>, mode: string): Promise<void> => {
    changes.push(changeOf(await plannedFile(places.tree, path), bytes, mode));
  };
  if (isNew && key !== undefined && paths.key !== undefined) {
    await add(paths.key, exportKey(key).expose(), '0600');
  }
  if (isNew) await add(paths.certificate, encodeCertificates([certificate]), '0644');
  if (needsBridge && old !== undefined) {
    const bridge = await createBridge(certificate, { old, now });
    await add(caPath(places, 'bridge'), encodeCertificates([bridge]), '0644');
  }
  return {
    changes,
    [Symbol.dispose]: () => {
      for (const { before, after } of changes) {
        before?.bytes.fill(0);
        after?.bytes.fill(0);
      }
    },
  };
}
