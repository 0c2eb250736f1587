import { resolve } from 'node:path';
import type { Command } from 'commander';
import { Option } from 'commander';
import { policyOption } from './approver-options.ts';
import { parseHostPort } from '../core/host-port.ts';
import { logFormats, logLevels } from '../config/schema.ts';
import { AgentError } from '../core/errors.ts';
import type { CliContext, ApproverStart } from './context.ts';

interface RunOptions {
  readonly policy?: string;
  readonly kubeconfig?: string;
  readonly leaseNamespace?: string;
  readonly metricsAddress: string;
  readonly logLevel: ApproverStart['logLevel'];
  readonly logFormat: ApproverStart['logFormat'];
}

/** `nodecertd approver`: approves serving CSRs until it receives a stop signal. */
export function configure(
  command: Command,
  { environment, startApprover }: CliContext,
  exit: (code: number) => void,
): void {
  command
    .addOption(policyOption())
    .option(
      '--kubeconfig <file>',
      'kubeconfig of the approver (default: the service account of the pod)',
    )
    .option(
      '--lease-namespace <name>',
      'namespace of the Lease that elects the leader (default: the namespace of the pod, or kube-system)',
    )
    .option(
      '--metrics-address <host:port>',
      'address for metrics and health checks',
      '127.0.0.1:9472',
    )
    .addOption(
      new Option('--log-level <level>', 'lowest level to log').choices(logLevels).default('info'),
    )
    .addOption(
      new Option('--log-format <format>', 'format of log lines')
        .choices(logFormats)
        .default('json'),
    )
    .action(async (options: RunOptions) => {
      const { policy, kubeconfig, metricsAddress, ...rest } = options;
      const { workingDirectory } = environment;
      const code = await startApprover({
        ...rest,
        metrics: addressOf(metricsAddress),
        ...(policy !== undefined && { policy: resolve(workingDirectory, policy) }),
        ...(kubeconfig !== undefined && { kubeconfig: resolve(workingDirectory, kubeconfig) }),
      });
      exit(code);
    });
}

function addressOf(text: string): ApproverStart['metrics'] {
  const address = parseHostPort(text);
  if (address !== undefined) return { ...address, kubeletNames: false };
  throw new AgentError('USAGE', `--metrics-address is ${text}`, {
    remedy: 'Give an address and a port, such as 127.0.0.1:9472 or 0.0.0.0:9472',
  });
}
