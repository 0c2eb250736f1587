import { join } from 'node:path';
import { scaled } from '../support/machine-speed.ts';
import { startSandboxControlPlane } from '../support/sandbox-control-plane.ts';
import type { FaultFamily, FaultRow } from './family.ts';
import type { CertsRoundResult } from './keys/certs-round.ts';
import { runCertsRound } from './keys/certs-round.ts';
import type { DiscoverRoundResult } from './keys/discover-round.ts';
import { runDiscoverRound } from './keys/discover-round.ts';
import type { RoundOptions, RoundResult } from './keys/round.ts';
import { doomedSigner, keptSigner, runRound } from './keys/round.ts';

/** Each process finds the disk full once, at an fsync, usually of a pair. */
const fullDisk = ['-e', 'inject=fsync:error=ENOSPC:when=7'];

const released = join(import.meta.dirname, '../../dist/nodecertd');

/**
 * Rotates certificates with every kind of key, makes CSRs fail in every way, and
 * searches for the private keys: in everything that a process of the agent writes
 * except the pair itself, and in the memory of the keeper after each rotation and each
 * failed CSR. Then does the same for every command of `nodecertd certs`, and for the token of
 * `nodecertd discover`.
 */
export const keys: FaultFamily = {
  name: 'keys',
  needs: ['strace'],
  async *run({ thorough, progress }) {
    const results: RoundResult[] = [];
    const size = thorough ? { copies: 4, rotations: 4 } : { copies: 1, rotations: 2 };
    const commands = thorough ? [undefined, released, released] : [undefined];
    for (const command of commands) {
      const result = await oneRound({ ...size, command, readdress: thorough, strace: fullDisk });
      results.push(result);
      const { rotations, givenUp, forgottenAfter } = result;
      progress(`${rotations} rotations, ${givenUp} keys given up, ${forgottenAfter.toFixed(0)} ms`);
    }
    yield* rowsOf(results);
    yield await searchCerts(thorough);
    yield await searchDiscover(thorough);
  },
};

export async function oneRound(options: Omit<RoundOptions, 'controlPlane'>): Promise<RoundResult> {
  const settings = { signingSeconds: scaled(20), customSigners: [keptSigner, doomedSigner] };
  await using controlPlane = await startSandboxControlPlane(settings);
  return await runRound({ ...options, controlPlane });
}

async function searchCerts(thorough: boolean): Promise<FaultRow> {
  const rounds = [await runCertsRound('P-256')];
  // The kind of kubeadm's keys.
  if (thorough) rounds.push(await runCertsRound('RSA 2048', released));
  const sum = (of: (round: CertsRoundResult) => number): number =>
    rounds.reduce((total, round) => total + of(round), 0);
  return {
    fault: 'every command of nodecertd certs, searched for the keys',
    tried: sum(({ commands }) => commands),
    lost: 0,
    seen: [
      `no part of ${sum(({ keys }) => keys)} keys outside their files`,
      `${sum(({ dumps }) => dumps)} core dumps without a key`,
    ],
  };
}

async function searchDiscover(thorough: boolean): Promise<FaultRow> {
  const rounds = [await runDiscoverRound()];
  if (thorough) rounds.push(await runDiscoverRound(released));
  const sum = (of: (round: DiscoverRoundResult) => number): number =>
    rounds.reduce((total, round) => total + of(round), 0);
  return {
    fault: 'nodecertd discover, searched for its token',
    tried: sum(({ commands }) => commands),
    lost: 0,
    seen: [
      'the token only in the kubeconfig',
      `${sum(({ dumps }) => dumps)} core dumps without the token`,
    ],
  };
}

function rowsOf(results: readonly RoundResult[]): FaultRow[] {
  const sum = (of: (result: RoundResult) => number): number =>
    results.reduce((total, result) => total + of(result), 0);
  const lost = sum(({ losses }) => losses.length);
  return [
    {
      fault: 'rotations with every kind of key, searched for the keys',
      tried: sum(({ rotations }) => rotations),
      lost,
      seen: ['no part of a key outside the pair, none in the memory that lives on'],
    },
    {
      fault: 'requests given up: denied, failed, deleted, unwanted, disk full, killed, stopped',
      tried: sum(({ givenUp }) => givenUp),
      lost,
      seen: [...new Set(results.flatMap(({ seen }) => seen))],
    },
  ];
}
