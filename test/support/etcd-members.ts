import { mkdtempSync, rmSync } from 'node:fs';
import { rename, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { EtcdAccess } from '../../src/trust/control-plane/etcd/access.ts';
import type { OpensslPair } from '../pki/renewal/openssl-authority.ts';
import { issueWithOpenssl } from '../pki/renewal/openssl-authority.ts';
import { Child } from './child.ts';
import { freePorts } from './free-ports.ts';
import { controlPlaneDirectory, isExecutable, skip } from './programs.ts';

/** For the `skip` option of a test. @throws in CI, where no test may be skipped */
export function skipWithoutEtcd(): string | false {
  if (isExecutable(program())) return false;
  return skip('tests on real members of etcd: not built (make control-plane)');
}

function program(): string {
  return join(controlPlaneDirectory(), 'etcd');
}

/** A member of a real etcd cluster on loopback, with one certificate for clients and peers. */
export interface RealMember {
  readonly name: string;
  readonly client: number;
  readonly peer: number;
  /** The folder of its files ca.crt, leaf.crt and leaf.key. */
  readonly folder: string;
  process: Child;
}

/** Three members of etcd that verify clients and peers with the CAs in their files. */
export class RealEtcd implements AsyncDisposable {
  readonly folder = mkdtempSync(join(tmpdir(), 'nodecertd-etcd-'));
  readonly members: RealMember[] = [];

  /** @param authority issues all certificates, and is the only trusted CA */
  static async start(authority: OpensslPair): Promise<RealEtcd> {
    const etcd = new RealEtcd();
    try {
      await etcd.#start(authority);
      return etcd;
    } catch (error) {
      await etcd[Symbol.asyncDispose]();
      throw error;
    }
  }

  get access(): EtcdAccess {
    const [first] = this.members;
    if (first === undefined) throw new Error('etcd has not started');
    return {
      local: { host: '127.0.0.1', port: first.client },
      localPeer: { host: '127.0.0.1', port: first.peer },
      authorities: this.#authorities,
      certificateFile: join(this.folder, 'client.crt'),
      keyFile: join(this.folder, 'client.key'),
    };
  }

  #authorities = Buffer.alloc(0);

  member(index: number): RealMember {
    const found = this.members[index];
    if (found === undefined) throw new Error(`there is no member ${index}`);
    return found;
  }

  /** The member reads the file only when it starts. */
  async trust({ folder }: RealMember, ...authorities: readonly OpensslPair[]): Promise<void> {
    const pem = Buffer.concat(authorities.map(({ certificate }) => certificate));
    await writeFile(join(folder, 'ca.crt'), pem);
    this.#authorities = pem;
  }

  /** The member reads the certificate at each handshake. */
  async issue({ folder }: RealMember, authority: OpensslPair): Promise<void> {
    const leaf = issueLeaf(authority);
    for (const [name, content] of [
      ['leaf.key', leaf.key],
      ['leaf.crt', leaf.certificate],
    ] as const) {
      await writeFile(join(folder, `${name}.new`), content);
      await rename(join(folder, `${name}.new`), join(folder, name));
    }
  }

  async restart(member: RealMember): Promise<void> {
    await member.process.stop();
    member.process = this.#run(member);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.members.map(async (member) => member.process.stop(0)));
    rmSync(this.folder, { recursive: true, force: true });
  }

  async #start(authority: OpensslPair): Promise<void> {
    const ports = await freePorts(6);
    const client = issueLeaf(authority);
    await writeFile(join(this.folder, 'client.crt'), client.certificate);
    await writeFile(join(this.folder, 'client.key'), client.key);
    const places = [0, 1, 2].map((index) => ({
      name: `member-${index + 1}`,
      client: ports[2 * index] ?? 0,
      peer: ports[2 * index + 1] ?? 0,
      folder: mkdtempSync(join(this.folder, 'member-')),
    }));
    this.#cluster = places.map(({ name, peer }) => `${name}=https://127.0.0.1:${peer}`).join(',');
    for (const place of places) {
      const member = place as RealMember;
      await this.trust(member, authority);
      await this.issue(member, authority);
      this.members.push(Object.assign(member, { process: this.#run(member) }));
    }
  }

  #cluster = '';

  #run({ name, client, peer, folder }: Omit<RealMember, 'process'>): Child {
    const clientUrl = `https://127.0.0.1:${client}`;
    const peerUrl = `https://127.0.0.1:${peer}`;
    const files = { ca: join(folder, 'ca.crt'), leaf: join(folder, 'leaf') };
    return new Child({
      name: 'etcd',
      command: program(),
      args: [
        `--name=${name}`,
        `--data-dir=${join(folder, 'data')}`,
        `--listen-client-urls=${clientUrl}`,
        `--advertise-client-urls=${clientUrl}`,
        `--listen-peer-urls=${peerUrl}`,
        `--initial-advertise-peer-urls=${peerUrl}`,
        `--initial-cluster=${this.#cluster}`,
        '--client-cert-auth',
        '--peer-client-cert-auth',
        `--trusted-ca-file=${files.ca}`,
        `--peer-trusted-ca-file=${files.ca}`,
        `--cert-file=${files.leaf}.crt`,
        `--key-file=${files.leaf}.key`,
        `--peer-cert-file=${files.leaf}.crt`,
        `--peer-key-file=${files.leaf}.key`,
        '--unsafe-no-fsync',
      ],
      logFile: join(this.folder, `${name}.log`),
    });
  }
}

function issueLeaf(signer: OpensslPair): OpensslPair {
  const extensions = [
    'keyUsage=critical,digitalSignature,keyEncipherment',
    'extendedKeyUsage=serverAuth,clientAuth',
    'basicConstraints=critical,CA:FALSE',
    'authorityKeyIdentifier=keyid',
    'subjectAltName=DNS:localhost,IP:127.0.0.1',
  ];
  return issueWithOpenssl({ subject: '/CN=member', extensions, signer });
}
