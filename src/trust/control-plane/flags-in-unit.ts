import { basename, dirname, join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { AgentError } from '../../core/errors.ts';
import { containerCommand } from '../../pki/components/component.ts';
import { makeDirectory } from '../../store/atomic-file.ts';
import { execStartCommands, quotedWord } from '../../sys/exec-start.ts';
import { showUnit } from '../../sys/systemctl.ts';
import type { UnitComponent } from './managed-component.ts';
import type { RolloverNode } from './node-files.ts';
import type { Replacement } from './replacement.ts';
import { noReplacement, removal, replacement } from './replacement.ts';
import type { FlagPaths, StepFlags } from './step-flags.ts';
import { changedFlags, flagWords } from './step-flags.ts';

/** Sorts after the usual names of drop-ins, so that the last `ExecStart=` is in this one. */
const dropInName = 'zz-nodecertd.conf';

type UnitNode = Pick<RolloverNode, 'ca' | 'tree' | 'directories' | 'systemctl'>;

export interface FlagsInUnit {
  /** The drop-in. */
  readonly flags: Replacement;
  /** The process has other flags than these files need, for example after a crash before its restart. */
  readonly isOutdated: boolean;
}

/**
 * The flags of a component in a drop-in of its unit. The drop-in repeats `ExecStart=` as
 * written, and adds the flags at its end, because the last one of a flag takes effect. So the unit
 * stays as it is, and its environment files count as before. The step `finish` removes the drop-in.
 * @throws AgentError CONFIG_INVALID if a drop-in cannot change the flags
 */
export async function flagsInUnit(
  node: UnitNode,
  component: UnitComponent,
  { wanted, usual }: StepFlags,
): Promise<FlagsInUnit> {
  const { tree } = node;
  const { unit } = component.source;
  const path = join('/etc/systemd/system', `${unit}.d`, dropInName);
  const present = await tree.readText(path);
  const isOutdated = changedFlags(node, component, wanted).length > 0;
  if (isDeepStrictEqual(wanted, usual)) {
    return { flags: present === undefined ? noReplacement : removal(tree, path), isOutdated };
  }
  // An administrator has set the flags by hand.
  if (present === undefined && !isOutdated) return { flags: noReplacement, isOutdated };
  // Without the drop-in, the unit has to have the flags of kubeadm.
  if (present === undefined) requireUsualFlags(node, component, usual);
  const words = flagWords(Object.entries(wanted));
  const loaded = await readUnit(node, component);
  requireRoot(component, { wanted, loaded });
  const text = dropInText(await commandOf(node, component, loaded), words);
  const flags = replacement({
    tree,
    path,
    content: words.join(' '),
    mode: '0644',
    isDone: present === text,
    bytes: async () => {
      await makeDirectory(dirname((await tree.locate(path)).physical));
      return new Uint8Array(Buffer.from(text));
    },
  });
  return { flags, isOutdated };
}

function dropInText(command: string, words: readonly string[]): string {
  return `# nodecertd ca-rollover apply has written this file. The step finish removes it.
[Service]
ExecStart=
ExecStart=${command} ${words.map(quotedWord).join(' ')}
`;
}

/** @throws AgentError CONFIG_INVALID */
function requireUsualFlags(node: UnitNode, component: UnitComponent, usual: FlagPaths): void {
  const [first] = changedFlags(node, component, usual);
  if (first === undefined) return;
  const [flag, path] = first;
  const { unit } = component.source;
  throw new AgentError('CONFIG_INVALID', `${unit} has another --${flag} than ${path}`, {
    remedy: `Pass the folder of its CA with --cert-dir; if the file has another name, copy it to ${path}, and change the flag: systemctl edit --full ${unit}`,
  });
}

interface LoadedUnit {
  /** The unit and its drop-ins, in the order in which systemd reads them. */
  readonly files: readonly string[];
  /** Absent for root. */
  readonly user?: string;
}

async function readUnit(
  { systemctl }: UnitNode,
  { source: { unit } }: UnitComponent,
): Promise<LoadedUnit> {
  const names = ['FragmentPath', 'DropInPaths', 'User', 'DynamicUser'];
  const shown = await showUnit(unit, names, { systemctl });
  const value = (name: string): string => shown.properties.get(name)?.join(' ') ?? '';
  const fragment = value('FragmentPath');
  if (shown.kind === 'failed' || fragment === '') {
    const reason = shown.kind === 'failed' ? shown.reason : 'it has no file';
    throw new AgentError('CONFIG_INVALID', `cannot read the unit ${unit}: ${reason}`, {
      remedy: `Find the reason, and then run this command again: systemctl status ${unit}`,
    });
  }
  const user = value('DynamicUser') === 'yes' ? 'a dynamic user' : value('User');
  return {
    files: [fragment, ...value('DropInPaths').split(' ').filter(Boolean)],
    ...(!['', 'root', '0'].includes(user) && { user }),
  };
}

/** Only root can read the key of the signing file. @throws AgentError CONFIG_INVALID */
function requireRoot(
  { name, source: { unit } }: UnitComponent,
  { wanted, loaded: { user } }: { readonly wanted: FlagPaths; readonly loaded: LoadedUnit },
): void {
  const path = Object.values(wanted).find((file) => file.endsWith('.key'));
  if (user === undefined || path === undefined) return;
  throw new AgentError(
    'CONFIG_INVALID',
    `${name} cannot read ${path}: ${unit} runs it as ${user}, and only root can read the keys of a rollover`,
    {
      remedy: `Set User=root and DynamicUser=no in a drop-in until the step finish is done: systemctl edit ${unit}`,
    },
  );
}

/**
 * The command line as written, without the drop-in of a rollover.
 * @throws AgentError CONFIG_INVALID if flags at its end would not reach the component
 */
async function commandOf(
  { tree }: UnitNode,
  { name, source: { unit } }: UnitComponent,
  { files }: LoadedUnit,
): Promise<string> {
  const others = files.filter((file) => basename(file) !== dropInName);
  const texts = await Promise.all(others.map(async (file) => (await tree.readText(file)) ?? ''));
  const later = others
    .slice(1)
    .find((file, at) => basename(file) > dropInName && setsCommand(texts[at + 1]));
  if (later !== undefined) {
    throw unsupported(unit, `${later} sets ExecStart= after ${dropInName}`, {
      remedy: `Give ${later} a name that sorts before ${dropInName}, and then run: systemctl daemon-reload`,
    });
  }
  const [command = '', ...more] = execStartCommands(texts);
  const words = command.replace(/^[-@:+!|]+/, '').split(/\s+/);
  const started = containerCommand(words.map((word) => word.replace(/^(["'])(.*)\1$/, '$2')));
  if (started?.name === name && more.length === 0 && !words.includes(';')) {
    return command;
  }
  throw unsupported(unit, `its ExecStart= does not start ${name} itself`, {
    remedy:
      'Do this step by hand, with the flags of docs/ca-rollover.md in the script that starts it: nodecertd ca-rollover plan',
  });
}

function setsCommand(text = ''): boolean {
  return /^\s*ExecStart\s*=/m.test(text);
}

function unsupported(
  unit: string,
  reason: string,
  options: { readonly remedy: string },
): AgentError {
  return new AgentError('CONFIG_INVALID', `cannot change the flags in ${unit}: ${reason}`, options);
}
