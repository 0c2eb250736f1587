import { dirname, join, normalize } from 'node:path';
import type { KubeletLayer } from '../kubelet/configuration.ts';
import { kubeletFacts } from '../kubelet/configuration.ts';
import type { SettingKey } from '../kubelet/flags.ts';
import { flagNamed, flagValue, settingFlags } from '../kubelet/flags.ts';
import { dropInFile, dropInText } from './drop-in.ts';
import type { AdoptionFacts, OverridingFlag } from './facts.ts';
import type { Obstacle, PlanPart, Step } from './plan.ts';
import { refuse } from './plan.ts';
import type { Targets } from './targets.ts';
import { systemctlCommand } from '../kubelet/restart.ts';
import { editYaml } from '../kube/yaml-edit.ts';

/** Plans the changes of the KubeletConfiguration, and refuses flags that override it. */
export function planSettings(facts: AdoptionFacts): PlanPart {
  const { configuration, targets, overriding } = facts;
  if (configuration.kind === 'invalid') {
    const { message, remedy = 'Correct the file' } = configuration.failure;
    return refuse({ id: 'kubelet-config-invalid', what: message, remedy });
  }
  const missing = [...targets.settings.keys()].filter(
    (key) => !isFlagged(facts, key) && fileValue(facts, key) !== targets.settings.get(key),
  );
  const files = missing.length === 0 ? {} : planFiles(facts, missing);
  const flags = overriding.map((flag) => flagObstacle(facts, flag));
  return { ...files, obstacles: [...(files.obstacles ?? []), ...flags] };
}

/** True when a flag has the target value, because the flag overrides the files. */
function isFlagged({ kubelet, targets }: AdoptionFacts, key: SettingKey): boolean {
  const flag = flagNamed(kubelet.flags, settingFlags[key]);
  return flag !== undefined && flagValue(flag) === targets.settings.get(key);
}

/**
 * The value in the files, without flags. A relative path starts at the folder of the main file,
 * but not in a drop-in.
 */
export function fileValue(
  { configuration }: AdoptionFacts,
  key: SettingKey,
): boolean | string | undefined {
  if (configuration.kind === 'invalid') return undefined;
  const main = configuration.main?.file ?? '';
  const setting = kubeletFacts(main, configuration)[key];
  if (typeof setting?.value !== 'string') return setting?.value ?? defaultOf(key);
  const { value, file } = setting;
  return normalize(value.startsWith('/') || file !== main ? value : join(dirname(main), value));
}

function defaultOf(key: SettingKey): boolean | undefined {
  return key === 'rotateCertificates' || key === 'serverTLSBootstrap' ? false : undefined;
}

/**
 * Other programs may rely on a flag, so adopt names the line of the flag instead of editing the
 * line.
 */
function flagObstacle(
  { kubelet }: AdoptionFacts,
  { name, value, lines }: OverridingFlag,
): Obstacle {
  const { unit } = kubelet;
  const reload =
    kubelet.running === undefined
      ? 'systemctl daemon-reload'
      : `systemctl daemon-reload && ${systemctlCommand('restart', unit ?? 'kubelet.service')}`;
  return {
    id: 'kubelet-flag',
    what: `--${name}=${value} in ${lines.join(' and ') || kubelet.commandLine} overrides the configuration files of the kubelet`,
    why: 'With this flag, the kubelet ignores the setting that adopt writes into the files',
    remedy:
      lines.length > 0
        ? `Remove --${name} from ${lines.join(' and ')}, run ${reload}, and run this command again`
        : `Remove --${name} from the settings of ${unit ?? 'the program that starts the kubelet'}, restart the kubelet, and run this command again`,
  };
}

function planFiles(facts: AdoptionFacts, missing: readonly SettingKey[]): PlanPart {
  const { configDirectory } = facts.paths;
  if (configDirectory === undefined) return planMainFile(facts, missing);
  if (facts.dropInFolder === 'missing') {
    return refuse({
      id: 'drop-in-folder',
      what: `the kubelet is started with --config-dir=${configDirectory}, but the folder does not exist`,
      why: 'The kubelet cannot start without it',
      remedy: `Create the folder: mkdir -p ${configDirectory}`,
    });
  }
  // The kubelet does not follow a link. Before 1.30, drop-ins need this variable, and before
  // 1.29, a drop-in cannot disable a setting (cmd/kubelet/app, mergeKubeletConfigurations).
  const alpha = facts.kubelet.variables.includes('KUBELET_CONFIG_DROPIN_DIR_ALPHA');
  return facts.dropInFolder === 'directory' && !alpha
    ? planDropIn(facts, configDirectory)
    : planMainFile(facts, missing);
}

function dropInsOf({ configuration }: AdoptionFacts): readonly KubeletLayer[] {
  return configuration.kind === 'read' ? configuration.dropIns : [];
}

function planDropIn(facts: AdoptionFacts, directory: string): PlanPart {
  const { targets } = facts;
  const dropIns = dropInsOf(facts);
  const file = dropInFile(directory, dropIns, [...targets.settings.keys()]);
  if (file === undefined) {
    const last = dropIns.at(-1)?.file ?? directory;
    return refuse({
      id: 'drop-in-overrides',
      what: `cannot add a drop-in that sorts after ${last}, which sets the same keys`,
      remedy: `Rename ${last} so that it sorts earlier, for example to 80-name.conf`,
    });
  }
  const before = dropIns.find((layer) => layer.file === file)?.text;
  const step: Step = {
    id: 'kubelet-drop-in',
    file,
    form: 'yaml',
    what:
      before === undefined
        ? 'a new drop-in that sorts after all others'
        : 'the drop-in of an earlier run',
    why: reasonOf(targets),
    after: dropInText(targets),
    mode: 0o644,
    ...(before !== undefined && { before }),
  };
  return { steps: [step] };
}

function reasonOf({ client, serving }: Targets): string {
  const parts = [
    client && 'leaves the rotation of its client certificate to nodecertd',
    serving && 'serves the certificate that nodecertd keeps and requests none itself',
  ];
  return `The kubelet ${parts.filter(Boolean).join(', ')}`;
}

function planMainFile(facts: AdoptionFacts, missing: readonly SettingKey[]): PlanPart {
  const { configuration, paths, targets } = facts;
  const { configFile } = paths;
  const main = configuration.kind === 'read' ? configuration.main : undefined;
  if (configFile === undefined || main === undefined) return refuse(noFile(facts));
  const overriding = overridingDropIns(facts, missing);
  if (overriding.length > 0) return { obstacles: overriding };
  const edits = missing.map((key) => ({ path: [key], value: targets.settings.get(key) ?? false }));
  const after = editYaml(main.text, edits);
  if (after === undefined) {
    const lines = edits.map(({ path, value }) => `${path.join('.')}: ${value}`);
    return refuse({
      id: 'kubelet-config-uneditable',
      what: `${configFile} cannot be edited: it has anchors or tags, or more than one document`,
      remedy: `Set in ${configFile} by hand: ${lines.join('; ')}`,
    });
  }
  const step: Step = {
    id: 'kubelet-config',
    file: configFile,
    form: 'yaml',
    what: `sets ${missing.join(', ')}`,
    why: reasonOf(targets),
    before: main.text,
    after,
  };
  return { steps: [step], notes: kubeadmNotes(facts, configFile) };
}

function noFile({ paths, kubelet }: AdoptionFacts): Obstacle {
  const id = 'kubelet-config-missing';
  const { configFile } = paths;
  if (configFile === undefined) {
    return {
      id,
      what: 'the kubelet is started without --config and --config-dir, so there is no file to change',
      remedy:
        'Start the kubelet with --config-dir=/etc/kubernetes/kubelet.conf.d, an empty folder, and run this command again',
    };
  }
  return {
    id,
    what: `the configuration file of the kubelet, ${configFile}, does not exist`,
    remedy:
      kubelet.source === 'unknown'
        ? 'Pass the configuration file of the kubelet: --kubelet-config FILE'
        : `Write ${configFile}, as kubeadm join does: the kubelet cannot start without it`,
  };
}

/** Drop-ins that would override the main file. */
function overridingDropIns(facts: AdoptionFacts, keys: readonly SettingKey[]): Obstacle[] {
  return dropInsOf(facts).flatMap(({ file, settings }): Obstacle[] => {
    const found = keys.filter(
      (key) => key in settings && settings[key] !== facts.targets.settings.get(key),
    );
    if (found.length === 0) return [];
    return [
      {
        id: 'drop-in-overrides',
        what: `${file} sets ${found.join(', ')} and overrides the main file`,
        why: 'Adopt cannot add a drop-in: this kubelet is older than 1.30, or its --config-dir is a link, which the kubelet does not follow',
        remedy: `Remove ${found.join(', ')} from ${file}`,
      },
    ];
  });
}

function kubeadmNotes({ kubelet }: AdoptionFacts, file: string): NonNullable<PlanPart['notes']> {
  if (!kubelet.variables.includes('KUBELET_KUBEADM_ARGS')) return [];
  return [
    {
      id: 'kubeadm-upgrade',
      what: `kubeadm upgrade node rewrites ${file} with rotateCertificates: true`,
      remedy:
        'Run nodecertd adopt --yes after each upgrade, or start the kubelet with --config-dir before this run: kubeadm keeps a drop-in',
    },
  ];
}
