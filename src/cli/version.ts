import type { Command } from 'commander';
import { version } from '../core/version.ts';
import type { CliContext } from './context.ts';
import { exitCodes } from './exit-code.ts';
import { outputOption, print } from './print.ts';
import type { OutputFormat } from './print.ts';

/** `nodecertd version`: the versions of the program and of its bundled runtime. */
export function configure(
  command: Command,
  context: CliContext,
  exit: (code: number) => void,
): void {
  command.addOption(outputOption());
  command.action(async ({ output }: { readonly output: OutputFormat }) => {
    const { version: node, platform, arch } = process;
    const facts = { version, node: node.slice(1), platform: `${platform}/${arch}` };
    const table = (): string => `nodecertd ${version} (Node ${facts.node}, ${facts.platform})\n`;
    context.stdout.write(await print(output, facts, table));
    exit(exitCodes.fine);
  });
}
