import { AgentError } from '../../core/errors.ts';
import type { TrustAuthority } from '../../core/trust.ts';
import { authorityName, shortFingerprint } from '../../core/trust.ts';
import { dropAuthority, reasonsAgainstDrop } from './drop.ts';
import { observeKubelet } from './kubelet-use.ts';
import { openNodeApi } from './node-api.ts';
import type { TrustRequest } from './session.ts';
import { fingerprintsOf, TrustSession } from './session.ts';

export interface DropPlan {
  readonly authority: TrustAuthority;
  /** Why this node still needs the CA. Empty if it does not. */
  readonly reasons: readonly string[];
  /** The managed files that have the CA. */
  readonly files: readonly string[];
}

/**
 * Checks whether a CA can be dropped. Changes only the state of the command.
 * @param fingerprint its first digits
 * @throws AgentError USAGE if the node trusts no such CA; STORE_*, KUBECONFIG_*
 */
export async function previewDrop(request: TrustRequest, fingerprint: string): Promise<DropPlan> {
  await using session = await TrustSession.open(request);
  return await planDrop(session, fingerprint);
}

/**
 * Removes a CA from the files of this node, after copies of them.
 * @throws AgentError USAGE if the node trusts no such CA or no other one; STORE_*, KUBECONFIG_*
 */
export async function dropByHand(
  request: TrustRequest,
  { fingerprint, force }: { readonly fingerprint: string; readonly force: boolean },
): Promise<DropPlan> {
  await using session = await TrustSession.open(request);
  const plan = await planDrop(session, fingerprint);
  const { authority, reasons } = plan;
  requireOther(session, authority);
  if (reasons.length > 0 && !force) return plan;
  // By force, the other CAs do not have to verify the API servers.
  await dropAuthority(session, authority, async () => {
    if (!force) await session.verify();
  });
  await session.save();
  return plan;
}

async function planDrop(session: TrustSession, fingerprint: string): Promise<DropPlan> {
  const authority = find(session, fingerprint);
  const doubt = await session.clockDoubt();
  const wanted = await session.readWanted();
  await using api = await openNodeApi(session);
  const { reader } = await observeKubelet(session, api);
  session.countMissing(wanted);
  await session.save();
  const reasons = await reasonsAgainstDrop(session, authority, {
    isSourceRead: wanted.authorities !== undefined,
    reader: reader.state,
    isClockTrusted: doubt === undefined,
  });
  const files = session.kept
    .filter((place) => fingerprintsOf(place.authorities).includes(authority.fingerprint))
    .map(({ path, file = path }) => file);
  return { authority, reasons, files: [...new Set(files)] };
}

/** @throws AgentError USAGE */
function find({ trusted }: TrustSession, fingerprint: string): TrustAuthority {
  const found = trusted.filter((authority) => authority.fingerprint.startsWith(fingerprint));
  const [authority, second] = found;
  if (authority !== undefined && second === undefined) return authority;
  const known = fingerprintsOf(trusted).map((text) => shortFingerprint(text));
  throw new AgentError(
    'USAGE',
    `this node trusts ${second === undefined ? 'no CA' : 'several CAs'} with a fingerprint that begins with ${fingerprint}`,
    { remedy: `Pass one of these: ${known.join(', ')}` },
  );
}

/** @throws AgentError USAGE */
function requireOther({ trusted }: TrustSession, authority: TrustAuthority): void {
  if (trusted.some(({ fingerprint }) => fingerprint !== authority.fingerprint)) return;
  throw new AgentError('USAGE', `${authorityName(authority)} is the only CA of this node`, {
    remedy: 'Add the other CA first: nodecertd trust sync',
  });
}
