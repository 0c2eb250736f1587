import { mkdirSync, writeFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { join, normalize, resolve } from 'node:path';
import { componentEndpoints } from '../../../src/pki/components/component-endpoints.ts';
import { parseComponentFlags } from '../../../src/pki/components/component-flags.ts';
import type { Component, ComponentName, FileNote } from '../../../src/pki/components/component.ts';
import { componentNames, processCommand } from '../../../src/pki/components/component.ts';
import { containerComponents } from '../../../src/pki/components/container-components.ts';
import { withEtcdConfigFile } from '../../../src/pki/components/etcd-config-file.ts';
import { fileReferences } from '../../../src/pki/components/file-references.ts';
import { readStaticPods } from '../../../src/pki/components/static-pods.ts';
import { kubeadmPods } from '../../pki/components/manifests.ts';
import { commandLines, componentConfigurations, manifests } from './component-texts.ts';
import { jsonMutators } from './json.ts';
import { pieceIn } from './judge.ts';
import { mutated } from './mutate.ts';
import { Random, seedOf } from './random.ts';
import { secretsOf } from './secrets.ts';
import type { FuzzTarget } from './target.ts';
import { requireThat } from './target.ts';
import { yamlWords } from './texts.ts';

const staticPod: FuzzTarget = {
  name: 'static-pod',
  module: import.meta.url,
  fault: 'damaged manifests of static pods',
  inputs: 40_000,
  generator: ({ token }) => {
    const seeds = manifests(token);
    const words = [
      ...yamlWords,
      '$(',
      '$(A)',
      '$$',
      '/',
      '../',
      '--kubeconfig=',
      'etcd',
      'hostPath',
    ];
    return (random) => mutated({ seeds, words }, random);
  },
  open: ({ corpus, directory }) => {
    const secrets = secretsOf(corpus);
    const folder = join(directory, 'manifests');
    mkdirSync(folder);
    writeFileSync(join(folder, 'b.yaml'), JSON.stringify(kubeadmPods['kube-scheduler']));
    return {
      feed: async (input) => {
        writeFileSync(join(folder, 'a.yaml'), input);
        const { pods, problems, ignored } = await readStaticPods(folder);
        requireThat(pods.length > 0, () => 'the second manifest is lost');
        requireHarmless([...problems, ...ignored], secrets);
        const found = pods.map(containerComponents);
        requireHarmless(
          found.flatMap(({ inShells }) => inShells.map(({ note }) => note)),
          secrets,
        );
        const components = found.flatMap((part) => part.components);
        await use(components, secrets);
        if (problems.length > 0) return 'a problem';
        return components.length === 1 ? 'no component' : 'a component';
      },
    };
  },
};

const flags: FuzzTarget = {
  name: 'component-flags',
  module: import.meta.url,
  fault: 'damaged command lines of components',
  inputs: 100_000,
  generator: ({ token }) => {
    const seeds = commandLines(token);
    const words = [
      '\0',
      '--',
      '-',
      '=',
      '_',
      ',',
      ':',
      'https://',
      '[',
      ']',
      '$(A)',
      '..',
      '/',
      '*.',
    ];
    return (random) => mutated({ seeds, words }, random);
  },
  open: ({ corpus }) => {
    const secrets = secretsOf(corpus);
    return {
      feed: async (input) => {
        const command = Buffer.from(input).toString().split('\0');
        const started = processCommand(command);
        const found = parseComponentFlags(started?.words ?? command);
        const again = parseComponentFlags(found.map(({ name, value }) => `--${name}=${value}`));
        requireThat(
          JSON.stringify(again) === JSON.stringify(found),
          () => `${JSON.stringify(found)} changes when written`,
        );
        const names: readonly ComponentName[] =
          started === undefined ? componentNames : [started.name];
        // A configuration file is not read: the other target damages those.
        const own = found.filter(({ name }) => !/config/.test(name));
        await use(
          names.map((name) => onNode(name, own)),
          secrets,
        );
        return started?.name ?? 'no component';
      },
    };
  },
};

const configuration: FuzzTarget = {
  name: 'component-configuration',
  module: import.meta.url,
  fault: 'damaged configuration files of components',
  inputs: 40_000,
  generator: ({ token }) => {
    const seeds = componentConfigurations(token);
    return (random) =>
      mutated(
        random.chance(0.7) ? { seeds, words: yamlWords } : { seeds, own: jsonMutators },
        random,
      );
  },
  open: ({ corpus, directory }) => {
    const secrets = secretsOf(corpus);
    const value = join(directory, 'config');
    return {
      feed: async (input) => {
        writeFileSync(value, input);
        const name = new Random(seedOf(input)).pick([
          'config',
          'authorization-config',
          'egress-selector-config-file',
          'admission-control-config-file',
        ]);
        const etcd = onNode('etcd', [{ name: 'config-file', value }]);
        const { component, problem } = await withEtcdConfigFile(etcd);
        if (problem !== undefined) requireHarmless([problem], secrets);
        return use([component, onNode('kube-proxy', [{ name, value }])], secrets);
      },
    };
  },
};

function onNode(name: ComponentName, own: Component['flags']): Component {
  return {
    name,
    source: { kind: 'unit', unit: `${name}.service` },
    flags: own,
    sharesNetwork: true,
    hostPath: (path) => resolve('/srv', path),
  };
}

async function use(
  components: readonly Component[],
  secrets: ReadonlySet<string>,
): Promise<string> {
  const { references, problems, ignored: outside } = await fileReferences(components);
  requireHarmless([...problems, ...outside], secrets);
  for (const { path } of references) {
    requireThat(
      path.startsWith('/') && normalize(path) === path && !path.includes('\0'),
      () => `a reference is ${JSON.stringify(path)}`,
    );
  }
  for (const endpoint of components.flatMap(componentEndpoints)) {
    const { host, port, serverName = 'a' } = endpoint;
    requireThat(
      isIP(host) !== 0 && port > 0 && port < 65_536 && /^[\w.-]+$/.test(serverName),
      () => `an endpoint is ${JSON.stringify(endpoint)}`,
    );
  }
  return references.length === 0 ? 'no files' : 'files';
}

function requireHarmless(notes: readonly FileNote[], secrets: ReadonlySet<string>): void {
  for (const { path, reason } of notes) {
    const leak = pieceIn(path + reason, secrets);
    requireThat(leak === undefined, () => `shows ${leak} of a secret: ${reason}`);
    requireThat(
      !/\p{Cc}/u.test(path + reason) && reason.length < 1_000,
      () => `not for a terminal: ${JSON.stringify([path, reason])}`,
    );
  }
}

export const targets: readonly FuzzTarget[] = [staticPod, flags, configuration];
