import type { Command } from 'commander';
import { InvalidArgumentError, Option } from 'commander';
import { inventoryExposition } from '../metrics/inventory-exposition.ts';
import type { Inventory, InventoryItem } from '../pki/inventory/inventory.ts';
import type { InventoryState, Threshold } from '../pki/inventory/judge.ts';
import { defaultThreshold, inventoryStates, thresholdOf } from '../pki/inventory/judge.ts';
import { localInventory } from '../pki/inventory/local-inventory.ts';
import type { DirectoryOptions } from './certs-options.ts';
import {
  addDirectoryOptions,
  directoriesOf,
  thresholdOption,
  userKubeconfigs,
} from './certs-options.ts';
import type { CliContext } from './context.ts';
import { Progress } from './doctor-progress.ts';
import type { ExitCode, ExitCodeMeanings } from './exit-code.ts';
import { exitCodes as codes } from './exit-code.ts';
import { inventoryDocument, inventorySeries, kubeadmDocument } from './inventory-document.ts';
import { inventoryTable } from './inventory-table.ts';
import { print } from './print.ts';

const formats = ['table', 'wide', 'json', 'yaml', 'kubeadm', 'prometheus'] as const;
type Format = (typeof formats)[number];

/** These show keys, names and usages. */
const detailed: ReadonlySet<Format> = new Set<Format>(['wide', 'json', 'yaml']);

interface CheckOptions extends DirectoryOptions {
  readonly output: Format;
  readonly threshold: Threshold;
  readonly failThreshold?: Threshold;
  readonly only?: readonly InventoryState[];
  readonly dial: boolean;
  readonly all?: boolean;
  readonly path?: readonly string[];
  readonly kubeletCertDir?: string;
}

export const exitCodes: ExitCodeMeanings = {
  0: 'every certificate is ok, or the output format is kubeadm',
  1: 'the command itself failed; a file that cannot be read is a row with exit code 4 instead',
  2: 'wrong usage',
  3: 'a certificate needs attention soon: expiring, overdue, stale-copy, ca-ends-first, mode',
  4: 'a certificate needs attention now: expired, not-yet-valid, missing, unreadable, key-mismatch, wrong-ca, stale-served',
};

/** `nodecertd certs check-expiration`: an inventory without configuration and without an API server. */
export function configure(
  command: Command,
  context: CliContext,
  exit: (code: number) => void,
): void {
  addDirectoryOptions(command)
    .option(
      '--kubelet-cert-dir <folder>',
      "the kubelet's certificate directory (default: from the kubelet's settings)",
    )
    .addOption(
      new Option('--threshold <time>', 'remaining time below which a certificate is expiring')
        .argParser(thresholdOption)
        .default(defaultThreshold, '10%'),
    )
    .addOption(
      new Option(
        '--fail-threshold <time>',
        'remaining time below which the exit code is 4',
      ).argParser(thresholdOption),
    )
    .addOption(
      new Option('--only <states>', 'show only these states, such as expiring,expired').argParser(
        statesOption,
      ),
    )
    .option('--no-dial', 'do not connect to the endpoints of this node')
    .option('--all', 'list every key pair of the kubelet, not only the current ones')
    .option(
      '--path <file...>',
      'list these certificate files and kubeconfigs too; patterns such as /srv/**/*.crt work',
    )
    .addOption(
      new Option('-o, --output <format>', 'output format').choices(formats).default('table'),
    )
    .action(async (options: CheckOptions) => {
      const inventory = await check(options, context);
      const shown = only(inventory, options.only);
      for (const text of await render(options, shown)) context.stdout.write(text);
      exit(exitCode(options, shown));
    });
}

function statesOption(text: string): InventoryState[] {
  return text.split(',').map((state) => {
    if (!Object.hasOwn(inventoryStates, state)) {
      throw new InvalidArgumentError(`The states are ${Object.keys(inventoryStates).join(', ')}.`);
    }
    return state as InventoryState;
  });
}

async function check(options: CheckOptions, { clock, stderr }: CliContext): Promise<Inventory> {
  using progress = new Progress(stderr, clock).start();
  return await localInventory({
    directories: directoriesOf(options),
    ...(options.kubeletCertDir && { kubeletDirectory: options.kubeletCertDir }),
    allKubeletPairs: options.all ?? false,
    kubeconfigs: userKubeconfigs(process.env),
    patterns: options.path ?? [],
    keepDer: detailed.has(options.output),
    dial: options.dial,
    threshold: options.threshold,
    now: clock.now(),
    // Ctrl-C simply ends the process, because the command changes nothing.
    signal: new AbortController().signal,
    onProgress: progress.note,
  });
}

function only(inventory: Inventory, states: readonly InventoryState[] | undefined): Inventory {
  if (states === undefined) return inventory;
  return { ...inventory, items: inventory.items.filter(({ state }) => states.includes(state)) };
}

/** The output in one or more pieces. */
async function render(
  { output: format, only: states }: Pick<CheckOptions, 'output' | 'only'>,
  inventory: Inventory,
): Promise<Iterable<string>> {
  switch (format) {
    case 'table':
    case 'wide':
      return [
        inventoryTable(inventory, { wide: format === 'wide', ...(states && { only: states }) }),
      ];
    case 'json':
    case 'yaml':
      return [await print(format, inventoryDocument(inventory), () => '')];
    case 'kubeadm':
      return [kubeadmDocument(inventory)];
    case 'prometheus':
      return inPieces(inventoryExposition(inventorySeries(inventory), inventory.now));
    default:
      return format satisfies never;
  }
}

/** Joins lines to pieces of about 64 kB, because each write is a system call. */
function* inPieces(lines: Iterable<string>): Generator<string, void> {
  let piece = '';
  for (const line of lines) {
    piece += line;
    if (piece.length < 64 * 1024) continue;
    yield piece;
    piece = '';
  }
  yield piece;
}

/** kubeadm always exits with 0, and scripts that read its output treat another code as a failure. */
function exitCode({ output, failThreshold }: CheckOptions, { items, now }: Inventory): ExitCode {
  return output === 'kubeadm' ? codes.fine : exitCodeFor(items, failThreshold, now);
}

/** The highest exit code of all items. */
export function exitCodeFor(
  items: readonly InventoryItem[],
  failThreshold: Threshold | undefined,
  now: number,
): ExitCode {
  const found = items.map(({ state, certificate }) => {
    if (failThreshold !== undefined && certificate !== undefined) {
      const lifetime = certificate.notAfter - certificate.notBefore;
      if (certificate.notAfter - now <= thresholdOf(failThreshold, lifetime)) return codes.expired;
    }
    return inventoryStates[state];
  });
  return Math.max(codes.fine, ...found) as ExitCode;
}
