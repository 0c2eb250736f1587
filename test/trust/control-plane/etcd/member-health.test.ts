import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { describe, it } from 'node:test';
import type { EtcdCluster } from '../../../../src/trust/control-plane/etcd/member-health.ts';
import { inspectEtcd } from '../../../../src/trust/control-plane/etcd/member-health.ts';
import type { Clock } from '../../../../src/sys/clock.ts';
import { ApiServer, sendJson } from '../../../kube/support/api-server.ts';
import { makeAuthority } from '../../../kube/support/certificates.ts';
import { temporaryDirectory } from '../../../store/pairs.ts';

const { signal } = new AbortController();

interface FakeMember {
  /** Applied indexes, one for each request; the last one stays. */
  readonly applied?: readonly number[];
  readonly committed?: number;
  readonly isLearner?: boolean;
  readonly health?: number;
  readonly errors?: readonly string[];
  readonly leader?: string;
  /** The member has not started. */
  readonly hasNoUrl?: boolean;
  /** It rejects its clients, as with a CA file from a backup. */
  readonly rejects?: boolean;
}

/** Without real waits. */
class SteppingClock implements Clock {
  #elapsed = 0;

  now(): number {
    return this.#elapsed;
  }

  elapsed(): number {
    return this.#elapsed;
  }

  async sleep(ms: number): Promise<void> {
    this.#elapsed += ms;
  }
}

/** A server answers for all members, each below its own port. */
async function inspect(
  context: TestContext,
  members: Readonly<Record<string, FakeMember>>,
): Promise<EtcdCluster> {
  const authority = await makeAuthority('etcd-ca');
  await using servers = new AsyncDisposableStack();
  const listed: object[] = [];
  const first: { url?: URL } = {};
  const urls: URL[] = [];
  for (const [name, member] of Object.entries(members)) {
    const left = [...(member.applied ?? [10])];
    const server = servers.use(
      await ApiServer.start(
        (request, response) => {
          if (member.rejects === true) return void response.writeHead(401).end();
          if (request.url === '/health') {
            response.writeHead(member.health ?? 200);
            return void response.end();
          }
          if (request.url === '/v3/cluster/member/list') {
            return sendJson(response, { members: listed });
          }
          const applied = left.length > 1 ? left.shift() : left[0];
          sendJson(response, {
            leader: member.leader ?? '7',
            raftIndex: String(member.committed ?? 10),
            raftAppliedIndex: String(applied),
            ...(member.errors && { errors: member.errors }),
          });
        },
        { authority, tls: { ca: authority.pem, requestCert: true, rejectUnauthorized: true } },
      ),
    );
    first.url ??= new URL(server.url);
    urls.push(new URL(server.url));
    listed.push({
      ID: '1',
      name: member.hasNoUrl === true ? '' : name,
      peerURLs: ['https://10.0.0.7:2380'],
      ...(member.hasNoUrl !== true && { clientURLs: [server.url] }),
      ...(member.isLearner === true && { isLearner: true }),
    });
  }
  const client = await authority.issue({ commonName: 'client', usages: ['client auth'] });
  const folder = await temporaryDirectory(context);
  const certificateFile = join(folder, 'client.crt');
  const keyFile = join(folder, 'client.key');
  await writeFile(certificateFile, client.cert);
  await writeFile(keyFile, client.key);
  const local = { host: '127.0.0.1', port: Number(first.url?.port) };
  const access = { local, localPeer: local, authorities: Buffer.from(authority.pem) };
  const elsewhere = async (): Promise<URL[]> => urls.slice(1);
  const waits = { clock: new SteppingClock(), signal };
  return await inspectEtcd({ ...access, certificateFile, keyFile }, waits, elsewhere);
}

const cases: readonly (readonly [
  string,
  Readonly<Record<string, FakeMember>>,
  readonly RegExp[],
])[] = [
  ['members that are healthy and have caught up', { m1: {}, m2: {}, m3: {} }, []],
  [
    'a member that applies the last entry while it is read',
    { m1: {}, m2: { applied: [9, 10], committed: 9 } },
    [],
  ],
  [
    'a member that needs some seconds for the last entries',
    { m1: {}, m2: { applied: [...Array.from({ length: 50 }, () => 9), 10], committed: 9 } },
    [],
  ],
  [
    'a member that is behind',
    { m1: { committed: 500, applied: [500] }, m2: { applied: [9], committed: 9 } },
    [/^the etcd member m2 is behind: it has applied 9 of 500 entries$/],
  ],
  ['a learner', { m1: {}, m2: { isLearner: true } }, [/^the etcd member m2 is a learner/]],
  ['a member without a leader', { m1: {}, m2: { leader: '0' } }, [/m2 has no leader$/]],
  ['an alarm', { m1: { errors: ['NOSPACE'] } }, [/^the etcd member m1 reports: NOSPACE$/]],
  ['/health with 503', { m1: {}, m2: { health: 503 } }, [/m2 is unhealthy: .* status 503$/]],
  [
    'a member that has not started',
    { m1: {}, m2: { hasNoUrl: true } },
    [/^the etcd member 10\.0\.0\.7:2380 has not started$/],
  ],
];

describe('inspectEtcd()', () => {
  for (const [name, members, expected] of cases) {
    it(`finds ${expected.length === 0 ? 'no problem with' : ''} ${name}`, async (context) => {
      const found = await inspect(context, members);
      assert.equal(found.members.length, Object.keys(members).length);
      assert.equal(found.problems.length, expected.length, JSON.stringify(found.problems));
      for (const [at, pattern] of expected.entries())
        assert.match(found.problems[at]?.message ?? '', pattern);
    });
  }

  it('reads the members elsewhere if the member on this node rejects its clients', async (context) => {
    const { members, problems } = await inspect(context, { m1: { rejects: true }, m2: {}, m3: {} });
    assert.deepEqual(
      members.map(({ name }) => name),
      ['m1', 'm2', 'm3'],
    );
    assert.deepEqual(
      problems.map(({ member }) => member?.name),
      [undefined, 'm1'],
    );
  });

  it('knows no members if no member answers', async (context) => {
    const rejects = true;
    const { members, problems } = await inspect(context, { m1: { rejects }, m2: { rejects } });
    assert.deepEqual(members, []);
    assert.match(problems[0]?.message ?? '', /^etcd at .* does not answer/);
  });
});
