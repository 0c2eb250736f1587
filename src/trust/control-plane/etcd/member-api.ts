import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import { request } from 'node:https';
import * as v from 'valibot';
import { formatHostPort } from '../../../core/host-port.ts';
import { second } from '../../../core/instant.ts';
import type { EtcdAccess } from './access.ts';
import { readClientPair } from './access.ts';

/** A member of the etcd cluster, as the member on this node knows it. */
export interface EtcdMember {
  /** As `etcdctl` writes it. */
  readonly id: string;
  /** The name of its Node in kubeadm's clusters; empty until the member has started. */
  readonly name: string;
  readonly clientUrls: readonly URL[];
  readonly peerUrls: readonly URL[];
  /** Does not vote yet. */
  readonly isLearner: boolean;
}

export interface MemberStatus {
  /** Everything up to this index of the log of the cluster is committed, as far as the member knows. */
  readonly committed: bigint;
  /** Everything up to this index is in the database of the member. */
  readonly applied: bigint;
  readonly hasLeader: boolean;
  /** As in `NOSPACE`. */
  readonly errors: readonly string[];
}

/** The gateway writes numbers of 64 bits as texts, and leaves out those that are 0. */
const whole = v.pipe(
  v.nullish(v.pipe(v.string(), v.digits()), '0'),
  v.transform((digits) => BigInt(digits)),
);

const urls = v.pipe(
  v.nullish(v.array(v.string()), []),
  v.transform((texts) => texts.flatMap((text) => URL.parse(text) ?? [])),
);

const membersSchema = v.object({
  members: v.pipe(
    v.array(
      v.object({
        ID: whole,
        name: v.nullish(v.string(), ''),
        clientURLs: urls,
        peerURLs: urls,
        isLearner: v.nullish(v.boolean(), false),
      }),
    ),
    v.transform((members) =>
      members.map(({ ID, name, clientURLs, peerURLs, isLearner }): EtcdMember => {
        const id = ID.toString(16);
        return { id, name, isLearner, clientUrls: clientURLs, peerUrls: peerURLs };
      }),
    ),
  ),
});

const statusSchema = v.pipe(
  v.object({
    leader: whole,
    raftIndex: whole,
    raftAppliedIndex: whole,
    errors: v.nullish(v.array(v.string()), []),
  }),
  v.transform(({ leader, raftIndex, raftAppliedIndex, errors }): MemberStatus => {
    const hasLeader = leader !== 0n;
    return { committed: raftIndex, applied: raftAppliedIndex, hasLeader, errors };
  }),
);

/**
 * The members that the member on this node knows, also without a quorum.
 * @throws Error with the reason
 */
export async function readMembers(
  access: EtcdAccess,
  signal: AbortSignal,
): Promise<readonly EtcdMember[]> {
  const url = new URL(`https://${formatHostPort(access.local)}/v3/cluster/member/list`);
  return v.parse(membersSchema, await call(url, access, signal)).members;
}

/**
 * Served by the JSON gateway of etcd, which connects to its own port with the certificate of the server.
 * @throws Error with the reason
 */
export async function readStatus(
  member: URL,
  access: EtcdAccess,
  signal: AbortSignal,
): Promise<MemberStatus> {
  return v.parse(
    statusSchema,
    await call(new URL('/v3/maintenance/status', member), access, signal),
  );
}

/**
 * Why a member is not healthy: without a leader or a quorum, or with an alarm. Undefined if it is.
 * @throws Error with the reason if it does not answer
 */
export async function healthProblem(
  member: URL,
  access: EtcdAccess,
  signal: AbortSignal,
): Promise<string | undefined> {
  const url = new URL('/health', member);
  const { statusCode } = await send(url, { access, method: 'GET', signal }, async (response) => {
    response.destroy();
    return response;
  });
  return statusCode === 200 ? undefined : `/health answers with HTTP status ${statusCode}`;
}

async function call(url: URL, access: EtcdAccess, signal: AbortSignal): Promise<unknown> {
  return send(url, { access, method: 'POST', signal }, async (response) => {
    const text = await boundedText(response);
    if (response.statusCode === 200) return JSON.parse(text) as unknown;
    throw new Error(`${url.pathname} answers with HTTP status ${response.statusCode}`);
  });
}

/** A request to etcd, which checks /health with a read that needs a quorum, takes up to 5 seconds. */
const timeout = 8 * second;

interface Sent {
  readonly access: EtcdAccess;
  readonly method: 'GET' | 'POST';
  readonly signal: AbortSignal;
}

async function send<T>(
  url: URL,
  { access, method, signal }: Sent,
  read: (response: IncomingMessage) => Promise<T>,
): Promise<T> {
  using pair = await readClientPair(access.certificateFile, access.keyFile);
  const { buffer, byteOffset, byteLength } = pair.key.expose();
  const sent = request(url, {
    method,
    ca: access.authorities,
    cert: Buffer.from(pair.pem),
    key: Buffer.from(buffer, byteOffset, byteLength),
    agent: false,
    signal: AbortSignal.any([signal, AbortSignal.timeout(timeout)]),
  });
  sent.end(method === 'POST' ? '{}' : undefined);
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  return await read(response);
}

const mostCharacters = 1024 * 1024;

async function boundedText(response: IncomingMessage): Promise<string> {
  response.setEncoding('utf8');
  let text = '';
  for await (const part of response as AsyncIterable<string>) {
    text += part;
    if (text.length > mostCharacters) throw new Error('the answer has more than 1 MiB');
  }
  return text;
}
