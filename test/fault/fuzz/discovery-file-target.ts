import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileCredential, readFileKubeconfig } from '../../../src/discovery/file-kubeconfig.ts';
import { kubeconfigArbitrary, sampler } from './arbitraries.ts';
import { clusterInfos } from './discovery-targets.ts';
import { mutated } from './mutate.ts';
import type { FuzzTarget } from './target.ts';
import { requireThat } from './target.ts';
import { kubeconfigs, yamlWords } from './texts.ts';

/** A kubeconfig from a web server gets nothing from the files of this machine. */
const discoveryFile: FuzzTarget = {
  name: 'discovery-file',
  module: import.meta.url,
  fault: 'damaged discovery files',
  inputs: 20_000,
  generator: (corpus) => {
    const seeds = [
      ...kubeconfigs(corpus),
      ...clusterInfos(corpus).map((text) => Buffer.from(text)),
    ];
    const sample = sampler(kubeconfigArbitrary);
    return (random) =>
      random.chance(0.2) ? sample(random) : mutated({ seeds, words: yamlWords }, random);
  },
  open: ({ corpus, directory }) => {
    const local = 'local0.fedcba9876543210';
    writeFileSync(join(directory, 'token'), local);
    writeFileSync(join(directory, 'pair.pem'), corpus.pairs.at(-1) ?? '');
    const name = join(directory, 'kubeconfig');
    return {
      feed: async (input) => {
        const text = Buffer.from(input).toString();
        const isLocal = input.length % 2 === 0;
        const kubeconfig = await readFileKubeconfig({ name, text }, isLocal);
        requireThat(!kubeconfig.cluster.insecureSkipTlsVerify, () => 'it verifies nothing');
        const credential = await fileCredential(kubeconfig);
        using secret = credential.kind === 'token' ? credential.token : credential.key;
        const isTheirs = isLocal || Buffer.from(secret.expose()).toString() !== local;
        requireThat(isTheirs, () => 'a web server gets a token of this machine');
        return credential.kind;
      },
    };
  },
};

export const targets: readonly FuzzTarget[] = [discoveryFile];
