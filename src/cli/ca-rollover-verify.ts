import type { Command } from 'commander';
import { AgentError } from '../core/errors.ts';
import type { GateReason } from '../trust/cluster/gate.ts';
import { checkLocalControlPlane } from '../trust/cluster/local-checks.ts';
import { viewRollover } from '../trust/cluster/rollover.ts';
import { lostAuthority, repairOn } from '../trust/control-plane/repair.ts';
import type { RolloverOptions } from './ca-rollover-options.ts';
import { accessOf, addCertificateOptions, questionOf } from './ca-rollover-options.ts';
import { reasonExitCode, reasonLines } from './ca-rollover-report.ts';
import { directoriesOf } from './certs-options.ts';
import type { CliContext } from './context.ts';
import { Progress } from './doctor-progress.ts';
import type { ExitCodeMeanings } from './exit-code.ts';
import type { OutputFormat } from './print.ts';
import { outputOption, print } from './print.ts';
import { oneLine } from './text.ts';

type VerifyOptions = Pick<
  RolloverOptions,
  'kubeconfig' | 'kubernetesDir' | 'certDir' | 'old' | 'new' | 'caKey'
> & { readonly output: OutputFormat };

export const exitCodes: ExitCodeMeanings = {
  0: 'the files of this node are consistent, and all control-plane nodes have the same CAs',
  1: 'the command itself failed',
  2: 'wrong usage',
  3: 'a step is not complete on this node or on another node',
  4: 'a file of this node is wrong; the table has the remedy',
};

/** `nodecertd ca-rollover verify`: the files of this control-plane node. Changes nothing. */
export function configure(
  command: Command,
  context: CliContext,
  exit: (code: number) => void,
): void {
  addCertificateOptions(command)
    .addOption(outputOption())
    .action(async (options: VerifyOptions) => {
      const found = await verify(options, context).catch(async (error: unknown) =>
        rejectingServer(error, options),
      );
      const document = { apiVersion: 'nodecertd.io/v1alpha1', kind: 'CaRolloverCheck', ...found };
      context.stdout.write(await print(options.output, document, () => verifyTable(found)));
      exit(reasonExitCode(found.reasons));
    });
}

export interface Verified {
  readonly reasons: readonly GateReason[];
  /** Why some control-plane nodes were not compared. The files of this node may be fine. */
  readonly notCompared: readonly GateReason[];
}

async function verify(options: VerifyOptions, context: CliContext): Promise<Verified> {
  using access = await accessOf(options);
  using progress = new Progress(context.stderr, context.clock).start();
  const view = await viewRollover({
    ...questionOf(
      { ...options, except: [], auditLog: [], quiet: 0, podsOk: true, dial: false },
      { access, context },
    ),
    onStep: progress.note,
  });
  if (view.local.isControlPlane) {
    const repair = await repairOn(directoriesOf(options));
    const reasons = checkLocalControlPlane({ ...view, ...(repair !== undefined && { repair }) });
    return { reasons, notCompared: view.others.hidden };
  }
  throw new AgentError(
    'USAGE',
    'this machine has no kube-apiserver and no kube-controller-manager',
    {
      remedy: 'Run the command as root on a control-plane node',
    },
  );
}

/** Without an API server, the files of this node may show why it rejects an administrator. */
async function rejectingServer(error: unknown, options: VerifyOptions): Promise<Verified> {
  const reason = await lostAuthority(error, directoriesOf(options));
  if (reason === undefined) throw error;
  return { reasons: [reason], notCompared: [] };
}

/** For people. */
export function verifyTable({ reasons, notCompared }: Verified): string {
  const same = notCompared.length === 0 ? 'control-plane nodes' : 'API servers';
  const fine = `The files of this node are consistent, and all ${same} have the same CAs`;
  const lines = [
    ...(reasons.length === 0 ? [fine] : reasons.flatMap(reasonLines)),
    ...notCompared.flatMap(({ message, objects = [] }) => [
      `Not compared: ${message} (${objects.join(', ')})`,
      '     → Run this command there too',
    ]),
  ];
  return `${lines.map(oneLine).join('\n')}\n`;
}
