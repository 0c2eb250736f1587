import {
  chmod,
  copyFile,
  mkdir,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { readFileSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { minute, second } from '../../../src/core/instant.ts';
import type { TestNode } from '../../support/agent.ts';
import { Mount } from './mount.ts';
import type { Scenario, Scene } from './scene.ts';
import { certificate, newPair, serial, until } from './scene.ts';

/** Faults of the disk. */
export const diskScenarios: readonly Scenario[] = [
  ...([0, 1] as const).map((pages): Scenario => ({
    fault:
      pages === 0
        ? 'no page left on the file system of the pairs'
        : 'the file system of the pairs fills up half-way through a pair',
    phase: 'blank',
    // A pair with an RSA key occupies two pages.
    prepare: async (node) => {
      await configure(
        node,
        'profile: kubelet-client',
        'profile: kubelet-client\n    key: { algorithm: rsa-4096 }',
      );
      const mount = new Mount(node.pki, 'size=24k');
      await writeFile(join(node.pki, '.nodecertd.lock'), '0\n');
      fill(join(node.pki, 'ballast'), pages);
      return mount;
    },
    act: async ({ node, agent }) => {
      await agent.event('rotation_failed');
      await rm(join(node.pki, 'ballast'));
      const recovery = await newPair(node);
      requireOneRequest(agent.all('csr_created').length);
      return recovery;
    },
    says: ['rotation_failed STORE_FULL'],
  })),
  {
    fault: 'the pairs become read-only while a request waits',
    phase: 'blank',
    unapproved: true,
    prepare: async (node) => new Mount(node.pki, 'size=64k'),
    act: async (scene, mount) => {
      await issuedOnly(scene, () => (mount as Mount).cover());
      await scene.agent.event('rotation_failed');
      (mount as Mount).uncover();
      const recovery = await newPair(scene.node);
      requireOneRequest(scene.agent.all('csr_created').length);
      return recovery;
    },
    says: ['rotation_failed STORE_PERMISSIONS'],
  },
];

/** Faults by people and other programs. */
export const handScenarios: readonly Scenario[] = [
  {
    fault: 'the directory is removed under the idle agent',
    phase: 'due',
    takesPair: true,
    act: async (scene) => {
      const { node } = scene;
      const before = await idle(scene);
      await rm(node.pki, { recursive: true });
      return newPair(node, ...before);
    },
    says: ['lock_renewed'],
  },
  {
    fault: 'the directory is removed and made again while a request waits',
    phase: 'due',
    unapproved: true,
    takesPair: true,
    act: async (scene) => {
      const { node } = scene;
      const before = await serial(node);
      await issuedOnly(scene, async () => {
        await rm(node.pki, { recursive: true });
        await mkdir(node.pki);
      });
      return newPair(node, before);
    },
    says: ['lock_renewed'],
  },
  {
    fault: 'the link is replaced by a plain file that holds the pair',
    phase: 'due',
    act: async (scene) => {
      const { node } = scene;
      await idle(scene);
      const copy = join(node.pki, 'copy');
      await copyFile(node.current(certificate), copy);
      await rename(copy, node.current(certificate));
      return linkedAgain(node);
    },
    says: [],
  },
  {
    fault: 'the link is replaced by a plain file without a pair',
    phase: 'due',
    takesPair: true,
    act: async (scene) => {
      const { node } = scene;
      await idle(scene);
      const junk = join(node.pki, 'junk');
      await writeFile(junk, 'junk');
      await rename(junk, node.current(certificate));
      return linkedAgain(node);
    },
    says: ['pair_set_aside', 'link_repaired'],
  },
  {
    fault: 'the link is made to lead elsewhere, to no pair',
    phase: 'due',
    takesPair: true,
    act: async (scene) => {
      const { node } = scene;
      await idle(scene);
      const elsewhere = join(node.directory, 'elsewhere.pem');
      await writeFile(elsewhere, 'junk');
      await relink(node, elsewhere);
      const recovery = await linkedAgain(node);
      if ((await readFile(elsewhere, 'utf8')) !== 'junk') throw new Error('the file was changed');
      return recovery;
    },
    says: ['link_repaired'],
  },
  {
    fault: 'the link is made to lead elsewhere, to the pair',
    phase: 'due',
    act: async (scene) => {
      const { node } = scene;
      await idle(scene);
      const elsewhere = join(node.directory, 'elsewhere.pem');
      await copyFile(node.current(certificate), elsewhere);
      await relink(node, elsewhere);
      return undefined;
    },
    says: ['pair_changed'],
  },
  {
    fault: 'pair and directory are made writable for everyone',
    phase: 'due',
    act: async (scene) => {
      const { node } = scene;
      await idle(scene);
      await chmod(node.current(certificate), 0o666);
      await chmod(node.pki, 0o777);
      return until('their modes', async () => {
        const modes = [await stat(node.current(certificate)), await stat(node.pki)];
        return modes.every(({ mode }) => (mode & 0o022) === 0);
      });
    },
    says: ['permissions_tightened'],
  },
  ...[0, 70 * 365].map((days): Scenario => ({
    fault: `the pair gets a modification time in ${days === 0 ? 1970 : 'forty years or so'}`,
    phase: 'due',
    act: async (scene) => {
      const { node, agent } = scene;
      const [, current] = await idle(scene);
      const seconds = days * 86_400;
      await utimes(node.current(certificate), seconds, seconds);
      await delay(3 * second);
      const { rotationDeadline = 0 } = await agent.certificate(certificate);
      if (rotationDeadline < Date.now() + minute) throw new Error('the deadline moved');
      if ((await serial(node)) !== current) throw new Error('the certificate was rotated');
      requireOneRequest(agent.all('csr_created').length);
      return undefined;
    },
    says: [],
  })),
  {
    fault: 'a second agent is started on the directory',
    phase: 'due',
    act: async (scene) => {
      const { node, agent } = scene;
      await idle(scene);
      const other = node.start();
      await other.exit();
      const code = other.all('agent_failed')[0]?.['code'];
      if (code !== 'STORE_LOCKED') throw new Error(`the second one ended with ${String(code)}`);
      if (agent.ended) throw new Error('the first one ended');
      await agent.status();
      return undefined;
    },
    says: [],
  },
  // The first agent's lock was in the old folder, and the agent notices that too late.
  {
    fault: 'the directory is made again, and a second agent is quicker',
    phase: 'due',
    takesPair: true,
    act: async (scene) => {
      const { node, agent } = scene;
      const before = await idle(scene);
      process.kill(agent.pid, 'SIGSTOP');
      await rm(node.pki, { recursive: true });
      const other = node.start();
      const recovery = await newPair(node, ...before);
      process.kill(agent.pid, 'SIGCONT');
      await agent.exit();
      const code = agent.all('agent_failed')[0]?.['code'];
      if (code !== 'STORE_LOCKED') throw new Error(`the first one ended with ${String(code)}`);
      requireOneRequest(other.all('csr_created').length);
      return recovery;
    },
    says: ['agent_failed STORE_LOCKED'],
  },
];

/**
 * Waits until the agent has rotated and its enroller has exited. Returns the old and
 * the new serial number.
 */
async function idle({ agent, node }: Scene): Promise<readonly [string, string]> {
  const before = await serial(node);
  await agent.event('certificate_stored');
  await agent.event('enroller_stopped', undefined, agent.all('enroller_started').length);
  return [before, await serial(node)];
}

/** Waits for the CSR, acts, and then approves the CSR. */
async function issuedOnly(
  { agent, controlPlane }: Scene,
  act: () => Promise<void> | void,
): Promise<void> {
  const { csr } = await agent.event('csr_created');
  await act();
  await controlPlane.approve(String(csr));
}

async function linkedAgain(node: TestNode): Promise<number> {
  return until('a link to a pair of the directory', async () => {
    const target = await node.target(certificate).catch(() => '');
    return target.startsWith(join(node.pki, certificate)) && (await serial(node)) !== '';
  });
}

async function relink(node: TestNode, target: string): Promise<void> {
  const link = join(node.directory, 'link');
  await symlink(target, link);
  await rename(link, node.current(certificate));
}

/** Fills the file system except for this number of pages. */
function fill(path: string, pages: number): void {
  const { bavail, bsize } = statfsSync(join(path, '..'));
  writeFileSync(path, Buffer.alloc((bavail - pages) * bsize));
}

async function configure(node: TestNode, found: string, wanted: string): Promise<void> {
  const text = readFileSync(node.configFile, 'utf8');
  if (!text.includes(found)) throw new Error(`no ${found} in the configuration`);
  await writeFile(node.configFile, text.replace(found, wanted));
}

function requireOneRequest(made: number): void {
  if (made > 1) throw new Error(`${made} CSRs were created, expected 1`);
}
