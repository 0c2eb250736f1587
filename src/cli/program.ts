import type { OutputConfiguration } from 'commander';
import { Command, CommanderError } from 'commander';
import { version } from '../core/version.ts';
import type { CliContext, CommandModule } from './context.ts';
import type { ExitCodeMeanings } from './exit-code.ts';
import {
  commonExitCodes,
  exitCodeOf,
  exitCodes,
  formatExitCodes,
  programExitCodes,
} from './exit-code.ts';
import { formatError, formatUsageError } from './print-error.ts';

/** Command lines without the program name, and the purpose of each. */
type Examples = readonly (readonly [string, string])[];

interface CommandEntry {
  /** A command of a group has two words, as in `certs verify`. */
  readonly name: string;
  readonly summary: string;
  readonly examples: Examples;
  readonly load: () => Promise<CommandModule>;
  /** The command of its group that runs if the command line names none. */
  readonly isDefault?: true;
}

const groups: Readonly<Record<string, string>> = {
  certs: 'List, verify and renew the certificates of a Kubernetes node',
  trust: 'Keep the CAs that this node trusts in step with the cluster',
  'ca-rollover': 'Replace the CA of a cluster: the next step, and whether it is safe',
  approver: 'Approve the serving CSRs of kubelets by a policy, and explain and test decisions',
};

const commands: readonly CommandEntry[] = [
  {
    name: 'run',
    summary: 'Run the agent: bootstrap the node, rotate its certificates, run hooks',
    examples: [
      ['run --config /etc/nodecertd/config.yaml', 'run as the service does'],
      [
        'run --bootstrap-kubeconfig /etc/kubernetes/bootstrap-kubelet.conf --log-format text',
        "manage the kubelet's two certificates, with the kubelet's own flags",
      ],
    ],
    load: () => import('./run.ts'),
  },
  {
    name: 'status',
    summary: 'Show each certificate: its state, its expiry, and the reason if it is waiting',
    examples: [
      ['status', 'ask the running agent, or read the directory if there is none'],
      ['status --cert-dir /var/lib/kubelet/pki -o json', 'for scripts; check the exit code'],
    ],
    load: () => import('./status.ts'),
  },
  {
    name: 'discover',
    summary:
      'Verify a cluster with a token and the hash of its CA key; write a bootstrap kubeconfig',
    examples: [
      [
        'discover --endpoint 10.0.0.1:6443 --token-file token --ca-cert-hash sha256:HEX',
        'verify the cluster as kubeadm join does; then start the service',
      ],
      ['discover --join -', 'paste the line that kubeadm token create --print-join-command prints'],
      [
        'discover --endpoint 10.0.0.1 10.0.0.2 --token-file - --ca-cert-hash sha256:OLD sha256:NEW --dry-run',
        'during a CA rollover, with two API servers; write nothing',
      ],
      [
        'discover --discovery-file cluster.conf --token-file token -o json',
        'take the server and the CA from a file; for scripts',
      ],
    ],
    load: () => import('./discover.ts'),
  },
  {
    name: 'doctor',
    summary: 'Check everything this node needs to get certificates; show a remedy for each problem',
    examples: [
      ['doctor', 'use the configuration of the service; check the exit code'],
      [
        'doctor --bootstrap-kubeconfig /etc/kubernetes/bootstrap-kubelet.conf',
        "check before the first start, with the kubelet's own flags",
      ],
      [
        'doctor --admin-kubeconfig /etc/kubernetes/admin.conf -o json',
        'for scripts on a control-plane node',
      ],
    ],
    load: () => import('./doctor.ts'),
  },
  {
    name: 'renew',
    summary: 'Tell the running agent to renew certificates now, and wait for the new ones',
    examples: [
      ['renew', 'renew every certificate, for example after a key has leaked'],
      ['renew kubelet-server --timeout 1h', 'wait longer if a person has to approve the CSR'],
      [
        'renew kubelet-client -o json',
        'for scripts; the exit code is 1 if the certificate was not renewed in time',
      ],
    ],
    load: () => import('./renew.ts'),
  },
  {
    name: 'adopt',
    summary: "Take over a kubelet's certificates, or revert that",
    examples: [
      ['adopt', 'show the changes file by file, and change nothing'],
      ['adopt --yes --restart', 'make the changes and restart the kubelet'],
      ['adopt --revert', 'show the files that a revert restores; add --yes to restore them'],
      [
        'adopt --root /mnt/image --kubelet-config /var/lib/kubelet/config.yaml --yes',
        'change the image of a node before its first start',
      ],
    ],
    load: () => import('./adopt.ts'),
  },
  {
    name: 'certs check-expiration',
    summary: 'List every certificate of this node, with its state and a remedy',
    examples: [
      [
        'certs check-expiration',
        'show the certificates of kubeadm, the kubelet, other files and endpoints',
      ],
      [
        'certs check-expiration --threshold 30d --only expiring,expired',
        'show what expires within 30 days; check the exit code',
      ],
      [
        'certs check-expiration -o prometheus --no-dial',
        "for the textfile collector of Prometheus' node exporter",
      ],
      ['certs check-expiration -o kubeadm', 'for scripts that read the JSON of kubeadm'],
    ],
    load: () => import('./certs-check-expiration.ts'),
  },
  {
    name: 'certs verify',
    summary: 'Compare the certificates that the endpoints of this node serve with the files',
    examples: [
      ['certs verify', 'after a renewal; the exit code is 4 if an old certificate is served'],
      ['certs verify kube-apiserver -o json', 'check one component'],
    ],
    load: () => import('./certs-verify.ts'),
  },
  {
    name: 'certs renew',
    summary: 'Renew certificates with the CAs of this node, or with an external CA',
    examples: [
      ['certs renew --all --dry-run', 'show the plan, and write nothing'],
      ['certs renew --due --yes', 'renew what is past 70-90% of its lifetime; check the exit code'],
      [
        'certs renew --unattended --window "Sun 02:00-04:00"',
        'for an hourly timer on each control-plane node',
      ],
      [
        'certs renew apiserver --lifetime 90d',
        'ask, then renew one certificate with another lifetime',
      ],
      [
        'certs renew --all --csr-out /srv/csr',
        'create a CSR for each certificate, for an external CA',
      ],
      ['certs renew --import /srv/signed', 'use the certificates that the external CA has issued'],
    ],
    load: () => import('./certs-renew.ts'),
  },
  {
    name: 'certs rollback',
    summary: 'Restore the files from before a renewal',
    examples: [
      ['certs rollback --dry-run', 'list the renewals and the files to restore'],
      ['certs rollback --yes', 'undo the latest renewal'],
    ],
    load: () => import('./certs-rollback.ts'),
  },
  {
    name: 'trust sync',
    summary: 'Add the CAs of the cluster to the files of this node, and make the kubelet use them',
    examples: [
      ['trust sync', 'bring this node in step now; the agent does so every ten minutes'],
      ['trust sync --restart', 'also restart the kubelet now if it may not use new CAs'],
      ['trust sync -o json', 'for scripts; check the exit code'],
    ],
    load: () => import('./trust-sync.ts'),
  },
  {
    name: 'trust drop',
    summary: 'Remove a CA that this node no longer needs from its files',
    examples: [
      ['trust drop 5f0c1d3a7be2946c --dry-run', 'show whether this node still needs the CA'],
      ['trust drop 5f0c1d3a7be2946c --yes', 'drop it, unless something needs it'],
    ],
    load: () => import('./trust-drop.ts'),
  },
  {
    name: 'trust rollback',
    summary: 'Restore the files from before the last change of the CAs',
    examples: [
      ['trust rollback --dry-run', 'list the files to restore'],
      ['trust rollback --yes --restart', 'restore them, and restart the kubelet if it needs that'],
    ],
    load: () => import('./trust-rollback.ts'),
  },
  {
    name: 'ca-rollover plan',
    summary:
      'Print the commands that replace the CA kubernetes of this cluster, in order; run none',
    examples: [
      ['ca-rollover plan', 'on a control-plane node of a kubeadm cluster, as root'],
      ['ca-rollover plan --return cp3', 'the commands for cp3, which was off during the rollover'],
    ],
    load: () => import('./ca-rollover-plan.ts'),
  },
  {
    name: 'ca-rollover apply',
    summary: 'Do a step of a CA rollover on this control-plane node',
    examples: [
      [
        'ca-rollover apply create --ca kubernetes --dry-run',
        'show what the step changes, and change nothing',
      ],
      ['ca-rollover apply create --ca kubernetes', 'create a CA like the old one, and its bridge'],
      [
        'ca-rollover apply create --ca kubernetes --import /mnt/new-ca --yes',
        'use an existing CA; for scripts',
      ],
      ['ca-rollover apply create --ca kubernetes --undo', 'remove the new CA before it is used'],
      ['ca-rollover apply trust --ca kubernetes --yes', 'trust both CAs on this node; for scripts'],
      ['ca-rollover apply switch --ca kubernetes', 'issue certificates from the new CA'],
      [
        'ca-rollover apply finish --ca kubernetes --clients-ok --old-key destroy',
        'trust the new CA alone, and destroy the key of the old CA',
      ],
      [
        'ca-rollover apply abort --ca kubernetes',
        'go back one step, toward the old CA alone; also with the other CAs',
      ],
      [
        'ca-rollover apply trust --ca etcd --dry-run',
        'the same steps for the CA of etcd; also with --ca front-proxy',
      ],
    ],
    load: () => import('./ca-rollover-apply.ts'),
  },
  {
    name: 'ca-rollover status',
    summary: 'Show which steps of a CA rollover are safe, and what is missing for the others',
    examples: [
      ['ca-rollover status', 'on a control-plane node, as root; check the exit code'],
      ['ca-rollover status --except worker-7 -o json', 'for scripts, without a Node that is off'],
    ],
    load: () => import('./ca-rollover-status.ts'),
  },
  {
    name: 'ca-rollover wait',
    summary: 'Wait until a step of a CA rollover is safe',
    examples: [
      ['ca-rollover wait --for union --timeout 2h', 'until certificates from the new CA are safe'],
      ['ca-rollover wait --for droppable --timeout 3d', 'until nothing needs the old CA'],
    ],
    load: () => import('./ca-rollover-wait.ts'),
  },
  {
    name: 'ca-rollover verify',
    summary: 'Check the files of this control-plane node during a CA rollover',
    examples: [['ca-rollover verify', 'after each step, as root; check the exit code']],
    load: () => import('./ca-rollover-verify.ts'),
  },
  {
    name: 'approver run',
    summary: 'Approve, deny or hold the serving CSRs of kubelets; the default command of approver',
    examples: [
      [
        'approver --kubeconfig /etc/nodecertd/approver.conf --policy /etc/nodecertd/policy.yaml',
        'run on a control-plane node',
      ],
      ['approver --metrics-address 0.0.0.0:9472', 'run in a pod, with its service account'],
    ],
    load: () => import('./approver-run.ts'),
    isDefault: true,
  },
  {
    name: 'approver explain',
    summary: 'Show whether the policy approves a serving CSR, with every check; change nothing',
    examples: [
      ['approver explain csr-8x2vq', 'read the CSR, the Nodes and the Services of the cluster'],
      [
        'approver explain --file csr.yaml --node node.yaml --policy policy.yaml',
        'without a cluster; check the exit code',
      ],
    ],
    load: () => import('./approver-explain.ts'),
  },
  {
    name: 'approver check',
    summary: 'Test a policy against saved CSRs and their recorded decisions',
    examples: [
      ['approver check --policy policy.yaml saved', 'exit code 4 if a decision would change'],
    ],
    load: () => import('./approver-check.ts'),
  },
  {
    name: 'version',
    summary: 'Show the version of nodecertd and of its Node.js runtime',
    examples: [['version -o json', 'for scripts']],
    load: () => import('./version.ts'),
  },
];

/** Runs one command line (without node and script) and returns the exit code; never throws. */
export async function runCli(argv: readonly string[], context: CliContext): Promise<number> {
  let code: number = exitCodes.fine;
  try {
    const words = withHelpAsFlag(argv);
    const program = await buildProgram(words, context, (chosen) => {
      code = chosen;
    });
    await program.parseAsync(words, { from: 'user' });
    return code;
  } catch (error) {
    // Help and version also end by an exception, with code 0; commander has printed usage errors.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : exitCodes.usage;
    context.stderr.write(formatError(error));
    return exitCodeOf(error);
  }
}

/** `help certs verify` becomes `certs verify --help`, because commander's `help` takes one word. */
function withHelpAsFlag(argv: readonly string[]): readonly string[] {
  const [first, ...words] = argv;
  const name = words.join(' ');
  const isMeant = first === 'help' && words.length > 1 && commands.some((one) => one.name === name);
  return isMeant ? [...words, '--help'] : argv;
}

/** Loads the files of the named commands only; the help shows the other commands by name. */
async function buildProgram(
  argv: readonly string[],
  context: CliContext,
  exit: (code: number) => void,
): Promise<Command> {
  const program = bareProgram(context);
  for (const entry of commands) {
    const { examples, load } = entry;
    const command = addCommand(program, entry);
    command.addHelpText('after', formatExamples(examples));
    if (!isNamed(entry, argv)) continue;
    const loaded = await load();
    loaded.configure(command, context, exit);
    command.addHelpText('after', `\n${formatExitCodes(loaded.exitCodes ?? commonExitCodes)}`);
  }
  return program;
}

function isNamed({ name, isDefault }: CommandEntry, argv: readonly string[]): boolean {
  const [group = '', ...rest] = name.split(' ');
  return argv.includes(group) && (isDefault === true || rest.every((word) => argv.includes(word)));
}

/** The content of the help as data, from which manual pages and completions are made. */
export interface ProgramModel {
  /** With every command and its options. */
  readonly program: Command;
  readonly exitCodes: ExitCodeMeanings;
  readonly commands: readonly CommandModel[];
}

export interface CommandModel {
  /** The words that call it: `status`, `certs verify`. */
  readonly name: string;
  readonly command: Command;
  readonly examples: Examples;
  readonly exitCodes: ExitCodeMeanings;
}

export async function describeProgram(context: CliContext): Promise<ProgramModel> {
  const program = bareProgram(context);
  const models: CommandModel[] = [];
  for (const entry of commands) {
    const { name, examples, load } = entry;
    const command = addCommand(program, entry);
    const loaded = await load();
    loaded.configure(command, context, () => undefined);
    models.push({ name, command, examples, exitCodes: loaded.exitCodes ?? commonExitCodes });
  }
  return { program, exitCodes: programExitCodes, commands: models };
}

function addCommand(program: Command, { name, summary, isDefault }: CommandEntry): Command {
  const [first = '', second] = name.split(' ');
  if (second === undefined) {
    return program.command(first).description(summary).configureOutput(usageErrors(name));
  }
  const group =
    program.commands.find((command) => command.name() === first) ?? addGroup(program, first);
  return group
    .command(second, { isDefault: isDefault === true })
    .description(summary)
    .configureOutput(usageErrors(name));
}

function usageErrors(name: string): OutputConfiguration {
  return {
    outputError: (text, write) => {
      write(formatUsageError(text, `nodecertd ${name}`));
    },
  };
}

function addGroup(program: Command, name: string): Command {
  const own = commands.filter((entry) => entry.name.startsWith(`${name} `));
  return program
    .command(name)
    .description(groups[name] ?? '')
    .helpCommand(false)
    .addHelpText('after', formatExamples(own.flatMap(({ examples }) => examples)))
    .addHelpText('after', `\n${formatExitCodes(programExitCodes)}`)
    .configureOutput(usageErrors(name));
}

function bareProgram({ stdout, stderr }: CliContext): Command {
  return new Command('nodecertd')
    .description('Keeps the certificates of a Kubernetes node valid.')
    .version(version, '-V, --version', 'show the version')
    .helpOption('-h, --help', 'show this help')
    .helpCommand('help [command]', 'show help for a command')
    .addHelpText('after', formatExamples(commands.flatMap(({ examples }) => examples)))
    .addHelpText('after', `\n${formatExitCodes(programExitCodes)}`)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => stdout.write(text),
      writeErr: (text) => stderr.write(text),
      outputError: (text, write) => {
        write(formatUsageError(text));
      },
      getOutHelpWidth: () => Math.min(stdout.columns ?? 100, 100),
      getErrHelpWidth: () => Math.min(stderr.columns ?? 100, 100),
    });
}

function formatExamples(examples: Examples): string {
  const lines = examples.map(([line, purpose]) => `  # ${purpose}\n  nodecertd ${line}`);
  return `\nExamples:\n${lines.join('\n')}`;
}
