import type { Command } from 'commander';
import { AgentError } from '../core/errors.ts';
import { defaultThreshold } from '../pki/inventory/judge.ts';
import { endpointsOf, findLocalNode } from '../pki/inventory/local-inventory.ts';
import type { ServedItem } from '../pki/inventory/served.ts';
import { checkServed } from '../pki/inventory/served.ts';
import type { DirectoryOptions } from './certs-options.ts';
import { addDirectoryOptions, directoriesOf } from './certs-options.ts';
import type { CliContext } from './context.ts';
import { Progress } from './doctor-progress.ts';
import type { ExitCodeMeanings } from './exit-code.ts';
import { exitCodes as codes } from './exit-code.ts';
import { inventoryDocument } from './inventory-document.ts';
import { inventoryTable } from './inventory-table.ts';
import type { OutputFormat } from './print.ts';
import { outputOption, print } from './print.ts';

interface VerifyOptions extends DirectoryOptions {
  readonly output: OutputFormat;
}

export const exitCodes: ExitCodeMeanings = {
  0: 'every endpoint serves the certificate on disk, or one that it creates in memory',
  1: 'the command itself failed',
  2: 'wrong usage',
  4: 'an endpoint is unreachable, or serves an old or a foreign certificate',
};

/** `nodecertd certs verify`: compares what the endpoints of this node serve with the files. */
export function configure(
  command: Command,
  context: CliContext,
  exit: (code: number) => void,
): void {
  addDirectoryOptions(command)
    .argument('[names...]', 'components or endpoints, such as etcd-peer; all by default')
    .addOption(outputOption())
    .action(async (names: readonly string[], options: VerifyOptions) => {
      const items = await verify(names, options, context);
      const inventory = { items, skipped: [], now: context.clock.now() };
      const none = 'This node has no endpoint of Kubernetes or etcd\n';
      const table = (): string =>
        items.length === 0 ? none : inventoryTable(inventory, { wide: false });
      context.stdout.write(await print(options.output, inventoryDocument(inventory), table));
      exit(items.every(isFine) ? codes.fine : codes.expired);
    });
}

function isFine({ verdict }: ServedItem): boolean {
  return verdict === 'current' || verdict === 'self-signed in memory';
}

async function verify(
  names: readonly string[],
  options: VerifyOptions,
  { clock, stderr }: CliContext,
): Promise<ServedItem[]> {
  using progress = new Progress(stderr, clock).start();
  const endpoints = endpointsOf(await findLocalNode(directoriesOf(options)));
  const known = new Set(endpoints.flatMap(({ name, component }) => [name, component]));
  const unknown = names.find((name) => !known.has(name));
  if (unknown !== undefined) {
    throw new AgentError('USAGE', `this node has no endpoint named ${unknown}`, {
      remedy:
        known.size === 0
          ? 'Run the command on a node, as root'
          : `Use one of: ${[...known].join(', ')}`,
    });
  }
  const wanted = endpoints.filter(
    ({ name, component }) =>
      names.length === 0 || names.includes(name) || names.includes(component),
  );
  progress.note('the endpoints of this node', 'started');
  return await checkServed(wanted, {
    now: clock.now(),
    threshold: defaultThreshold,
    signal: new AbortController().signal,
  });
}
