import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { findProgram, libraryEnvironment } from '../support/programs.ts';

/** The API server, and after it the nodes. RFC 5737 keeps these addresses for documentation. */
export const apiAddress = '192.0.2.1';

export function nodeAddress(index: number): string {
  return `192.0.2.${11 + index}`;
}

const mostNodes = 8;
const variable = 'NODECERTD_OWN_NETWORK';

export const isInOwnNetwork = process.env[variable] === '1';

/** nodecertd looks at the processes of a control plane, and must not see those of another test. */
const isolation = ['--net', '--pid', '--fork', '--kill-child', '--mount-proc'];

/**
 * Runs a program of this repository in a network without a way out, in which the API server and
 * each node have an address of their own. Kubelets refuse to have one on loopback.
 */
export async function runInOwnNetwork(module: string, args: readonly string[]): Promise<number> {
  const program = findProgram('ip') ?? 'ip';
  const addresses = [apiAddress, ...Array.from({ length: mostNodes }, (_, i) => nodeAddress(i))];
  const script = [
    '"$1" link set lo up',
    '"$1" link add nodes type bridge',
    ...addresses.map((address) => `"$1" address add ${address}/24 dev nodes`),
    '"$1" link set nodes up',
    // A kubelet looks for the network interface of the default route.
    '"$1" route add default dev nodes',
    'shift',
    'exec "$@"',
  ].join('\n');
  const child = spawn(
    'unshare',
    [...isolation, '--', 'sh', '-ec', script, 'sh', program, process.execPath, module, ...args],
    {
      stdio: 'inherit',
      env: { ...process.env, ...libraryEnvironment(program), [variable]: '1' },
    },
  );
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal));
  const [code] = (await once(child, 'exit')) as [number | null];
  return code ?? 1;
}
