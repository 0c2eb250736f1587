import type { Command } from 'commander';
import { AgentError } from '../core/errors.ts';
import { version } from '../core/version.ts';
import type { TrustRequest } from '../trust/node/session.ts';
import { clockSync } from '../sys/clock-sync.ts';
import type { ConfigOptions } from './config-options.ts';
import { addConfigOptions, nodeFlags } from './config-options.ts';
import type { CliContext } from './context.ts';
import { loadNodeConfig } from './default-config.ts';

/** The flags of the commands that change the CAs of this node. */
export function addTrustOptions(command: Command): Command {
  addConfigOptions(command, nodeFlags);
  return command;
}

/** @throws AgentError CONFIG_*, also if the configuration does not enable `trust` */
export async function trustRequest(
  options: ConfigOptions,
  { context, signal }: { readonly context: CliContext; readonly signal: AbortSignal },
): Promise<TrustRequest> {
  const config = await loadNodeConfig(options, context);
  const { trust, file } = config;
  if (trust === undefined) {
    const message = `trust.enabled is not true in ${file ?? 'the configuration'}`;
    const remedy = 'Set trust.enabled: true in the configuration, and see docs/trust.md';
    throw new AgentError('CONFIG_INVALID', message, { remedy });
  }
  const { clock } = context;
  return {
    config: { ...config, trust },
    version,
    clock,
    signal,
    clockSync: () => clockSync({ path: process.env['PATH'] ?? '', clock, signal }),
  };
}
