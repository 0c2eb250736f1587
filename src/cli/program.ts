import { Command, CommanderError } from 'commander';
import { version } from '../core/version.ts';
import type { CliContext, CommandModule } from './context.ts';
import type { ExitCodeMeanings } from './exit-code.ts';
import { exitCodeHelp, exitCodeMeanings, exitCodeOf, exitCodes } from './exit-code.ts';
import { formatError, formatUsageError } from './print-error.ts';

/** Command lines without the program's name, and what each is for. */
type Examples = readonly (readonly [string, string])[];

interface CommandEntry {
  readonly name: string;
  readonly summary: string;
  readonly examples: Examples;
  readonly load: () => Promise<CommandModule>;
}

const commands: readonly CommandEntry[] = [
  {
    name: 'run',
    summary: "Keep this node's certificates: bootstrap, rotate, watch",
    examples: [
      ['run --config /etc/nodecertd/config.yaml', 'as the service does'],
      [
        'run --bootstrap-kubeconfig /etc/kubernetes/bootstrap-kubelet.conf --log-format text',
        "the kubelet's two certificates, with the kubelet's own flags",
      ],
    ],
    load: () => import('./run.ts'),
  },
  {
    name: 'status',
    summary: 'Show the certificates, what they wait for and when they expire',
    examples: [
      ['status', 'from the running agent, or else from the directory'],
      ['status --cert-dir /var/lib/kubelet/pki -o json', 'for scripts; mind the exit code'],
    ],
    load: () => import('./status.ts'),
  },
  {
    name: 'doctor',
    summary: 'Find what keeps this node from its certificates, and say what to do about it',
    examples: [
      ['doctor', 'with the configuration of the service; mind the exit code'],
      [
        'doctor --bootstrap-kubeconfig /etc/kubernetes/bootstrap-kubelet.conf',
        "before the first start, with the kubelet's own flags",
      ],
      [
        'doctor --admin-kubeconfig /etc/kubernetes/admin.conf -o json',
        'on a control-plane node, for scripts',
      ],
    ],
    load: () => import('./doctor.ts'),
  },
  {
    name: 'renew',
    summary: 'Have the running agent replace certificates now, and wait for the new ones',
    examples: [
      ['renew', 'everything that this agent keeps, for instance after a key has leaked'],
      ['renew kubelet-server --timeout 1h', 'where a person has to approve the request'],
      ['renew kubelet-client -o json', 'for scripts; exit code 1 when it was not renewed in time'],
    ],
    load: () => import('./renew.ts'),
  },
  {
    name: 'adopt',
    summary: "Hand a kubelet's certificates over to the agent, and back",
    examples: [
      ['adopt', 'what would be changed, file by file; changes nothing'],
      ['adopt --yes --restart', 'make the changes and restart the kubelet'],
      ['adopt --revert', 'what would be put back; with --yes it is'],
      ['adopt --root /mnt/image --yes', 'in an image of a node, before its first start'],
    ],
    load: () => import('./adopt.ts'),
  },
  {
    name: 'version',
    summary: 'Show the versions of the program and its runtime',
    examples: [['version -o json', 'for scripts']],
    load: () => import('./version.ts'),
  },
];

/** Runs one command line (without node and script) and returns the exit code; never throws. */
export async function runCli(argv: readonly string[], context: CliContext): Promise<number> {
  let code: number = exitCodes.fine;
  try {
    const program = await buildProgram(argv, context, (chosen) => {
      code = chosen;
    });
    await program.parseAsync(argv, { from: 'user' });
    return code;
  } catch (error) {
    // Help and version end by an exception as well, with code 0; what is wrong was printed.
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : exitCodes.usage;
    context.stderr.write(formatError(error));
    return exitCodeOf(error);
  }
}

/** Only the files of commands named in the arguments are loaded; the others show up in the help by name. */
async function buildProgram(
  argv: readonly string[],
  context: CliContext,
  exit: (code: number) => void,
): Promise<Command> {
  const program = bareProgram(context);
  for (const { name, summary, examples, load } of commands) {
    const command = program.command(name).description(summary);
    command.addHelpText('after', formatExamples(examples));
    if (argv.includes(name)) (await load()).configure(command, context, exit);
  }
  return program;
}

/** All that the help says, as data: manual pages and completions are made from it. */
export interface ProgramModel {
  /** With every command and its options. */
  readonly program: Command;
  readonly exitCodes: ExitCodeMeanings;
  readonly commands: readonly CommandModel[];
}

export interface CommandModel {
  readonly command: Command;
  readonly examples: Examples;
  readonly exitCodes: ExitCodeMeanings;
}

export async function describeProgram(context: CliContext): Promise<ProgramModel> {
  const program = bareProgram(context);
  const models: CommandModel[] = [];
  for (const { name, summary, examples, load } of commands) {
    const command = program.command(name).description(summary);
    const loaded = await load();
    loaded.configure(command, context, () => undefined);
    models.push({ command, examples, exitCodes: loaded.exitCodes ?? exitCodeMeanings });
  }
  return { program, exitCodes: exitCodeMeanings, commands: models };
}

function bareProgram({ stdout, stderr }: CliContext): Command {
  return new Command('nodecertd')
    .description("Looks after a Kubernetes node's certificates.")
    .version(version, '-V, --version', 'show the version')
    .helpOption('-h, --help', 'show this help')
    .helpCommand('help [command]', 'show the help of a command')
    .addHelpText('after', formatExamples(commands.flatMap(({ examples }) => examples)))
    .addHelpText('after', `\n${exitCodeHelp}`)
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
