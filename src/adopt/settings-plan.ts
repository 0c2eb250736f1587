import { dirname, join, normalize } from 'node:path';
import type { KubeletLayer } from '../kubelet/configuration.ts';
import { kubeletFacts } from '../kubelet/configuration.ts';
import { dropInFile, dropInText } from './drop-in.ts';
import type { AdoptionFacts } from './facts.ts';
import { planFlags } from './flags-plan.ts';
import { flagNamed } from '../kubelet/flags.ts';
import type { Obstacle, PlanPart, Step } from './plan.ts';
import type { SettingKey } from './wanted.ts';
import { flagValue, settingFlags } from './wanted.ts';
import { editYaml } from './yaml-edit.ts';

/** The KubeletConfiguration and the flags that override it. */
export function planSettings(facts: AdoptionFacts): PlanPart {
  const { configuration, wanted } = facts;
  if (configuration.kind === 'invalid') {
    const { message, remedy = 'Correct it' } = configuration.failure;
    return { obstacles: [{ id: 'kubelet-config-invalid', what: message, remedy }] };
  }
  const keys = [...wanted.settings.keys()];
  const missing = keys.filter(
    (key) => !holds(facts, key) && fileValue(facts, key) !== wanted.settings.get(key),
  );
  const flags = planFlags(facts);
  const files = missing.length === 0 ? {} : planFiles(facts, missing);
  return {
    steps: [...(files.steps ?? []), ...(flags.steps ?? [])],
    obstacles: [...(files.obstacles ?? []), ...(flags.obstacles ?? [])],
    notes: [...(files.notes ?? [])],
  };
}

/** A flag says it already, whatever the files say. */
function holds({ kubelet, wanted }: AdoptionFacts, key: SettingKey): boolean {
  const flag = flagNamed(kubelet.flags, settingFlags[key]);
  return flag !== undefined && flagValue(key, flag.value) === wanted.settings.get(key);
}

/** What the files say without the flags; relative paths start from the folder of the main file, and of no drop-in. */
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

function planFiles(facts: AdoptionFacts, missing: readonly SettingKey[]): PlanPart {
  const { configDirectory } = facts.paths;
  if (configDirectory === undefined) return planMainFile(facts, missing);
  if (facts.dropInFolder === 'missing') return { obstacles: [noFolder(configDirectory)] };
  // A link is passed over by the kubelet. Before 1.30 a drop-in needs this variable, and
  // before 1.29 it cannot switch anything off (cmd/kubelet/app, mergeKubeletConfigurations).
  const alpha = facts.kubelet.variables.includes('KUBELET_CONFIG_DROPIN_DIR_ALPHA');
  return facts.dropInFolder === 'directory' && !alpha
    ? planDropIn(facts, configDirectory)
    : planMainFile(facts, missing);
}

function noFolder(directory: string): Obstacle {
  return {
    id: 'drop-in-folder',
    what: `the kubelet is started with --config-dir=${directory}, and there is no such folder`,
    why: 'It does not start without',
    remedy: `mkdir -p ${directory}`,
  };
}

function planDropIn(facts: AdoptionFacts, directory: string): PlanPart {
  const { wanted, configuration, texts } = facts;
  const dropIns = configuration.kind === 'read' ? configuration.dropIns : [];
  const file = dropInFile(directory, dropIns, [...wanted.settings.keys()]);
  if (file === undefined) {
    const last = dropIns.at(-1)?.file ?? directory;
    return {
      obstacles: [
        {
          id: 'drop-in-overrides',
          what: `no name for a drop-in comes after ${last}, which has a word on the same settings`,
          remedy: `Rename ${last}, to 80-name.conf for example`,
        },
      ],
    };
  }
  const before = texts.get(file);
  const step: Step = {
    id: 'kubelet-drop-in',
    file,
    form: 'yaml',
    what:
      before === undefined ? 'a drop-in that is read after all others' : 'the drop-in of before',
    why: whySettings(facts),
    after: dropInText(wanted),
    mode: 0o644,
    ...(before !== undefined && { before }),
  };
  return { steps: [step] };
}

function whySettings({ wanted }: AdoptionFacts): string {
  const client = wanted.client && 'leaves the rotation of its client certificate to nodecertd';
  const serving = wanted.serving && 'serves the pair that nodecertd keeps and asks for none itself';
  return `The kubelet ${[client, serving].filter(Boolean).join(', ')}`;
}

function planMainFile(facts: AdoptionFacts, missing: readonly SettingKey[]): PlanPart {
  const { configuration, paths, texts, wanted } = facts;
  const { configFile } = paths;
  const main = configuration.kind === 'read' ? configuration.main : undefined;
  if (configFile === undefined || main === undefined) return { obstacles: [noFile(facts)] };
  const overriding = overriders(facts, missing);
  if (overriding.length > 0) return { obstacles: overriding };
  const before = texts.get(configFile) ?? '';
  const edits = missing.map((key) => ({ path: [key], value: wanted.settings.get(key) ?? false }));
  const after = editYaml(before, edits);
  if (after === undefined) return { obstacles: [uneditable(configFile, edits)] };
  const step: Step = {
    id: 'kubelet-config',
    file: configFile,
    form: 'yaml',
    what: `${missing.join(', ')}; everything else stays as it is`,
    why: whySettings(facts),
    before,
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
      what: 'the kubelet is started without --config and --config-dir: there is no file that could be changed',
      remedy:
        'Start the kubelet with --config-dir=/etc/kubernetes/kubelet.conf.d, an empty folder; the drop-in goes there',
    };
  }
  return {
    id,
    what: `the configuration of the kubelet, ${configFile}, does not exist`,
    remedy:
      kubelet.source === 'unknown'
        ? 'Name the file that the kubelet is started with: --kubelet-config FILE'
        : `Write ${configFile} (kubeadm join does): the kubelet does not start without`,
  };
}

/** Drop-ins that would have the last word over the main file. */
function overriders(facts: AdoptionFacts, keys: readonly SettingKey[]): Obstacle[] {
  const { configuration, wanted } = facts;
  const dropIns = configuration.kind === 'read' ? configuration.dropIns : [];
  const contradicts = ({ settings }: KubeletLayer): SettingKey[] =>
    keys.filter((key) => key in settings && settings[key] !== wanted.settings.get(key));
  return dropIns.flatMap((layer) => {
    const found = contradicts(layer);
    if (found.length === 0) return [];
    return [
      {
        id: 'drop-in-overrides' as const,
        what: `${layer.file} sets ${found.join(', ')} and has the last word over the main file`,
        why: 'A drop-in of ours cannot be relied on: this kubelet is older than 1.30, or its --config-dir is a link, which it passes over',
        remedy: `Take ${found.join(', ')} out of ${layer.file}`,
      },
    ];
  });
}

function uneditable(
  file: string,
  edits: readonly { readonly path: readonly string[]; readonly value: boolean | string }[],
): Obstacle {
  const lines = edits.map(({ path, value }) => `${path.join('.')}: ${value}`);
  return {
    id: 'kubelet-config-uneditable',
    what: `${file} is written in a way that cannot be edited without writing all of it anew`,
    remedy: `Set in ${file} by hand: ${lines.join('; ')}`,
  };
}

function kubeadmNotes({ kubelet }: AdoptionFacts, file: string): NonNullable<PlanPart['notes']> {
  if (!kubelet.variables.includes('KUBELET_KUBEADM_ARGS')) return [];
  return [
    {
      id: 'kubeadm-upgrade',
      what: `kubeadm upgrade node writes ${file} anew, with rotateCertificates: true`,
      remedy:
        'Run nodecertd adopt --yes after each, or start the kubelet with --config-dir before this: a drop-in stays',
    },
  ];
}
