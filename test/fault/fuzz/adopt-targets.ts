import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { planAdoption } from '../../../src/adopt/plan-adoption.ts';
import { gatherFacts } from '../../../src/adopt/facts.ts';
import type { Plan } from '../../../src/adopt/plan.ts';
import { stepDiff } from '../../../src/adopt/step-diff.ts';
import { Tree } from '../../../src/sys/tree.ts';
import {
  configFile,
  kubeconfigFile,
  kubeconfigOf,
  kubeletConfig,
  requestFor,
} from '../../adopt/kubeadm-node.ts';
import type { Corpus } from './corpus.ts';
import { pieceIn } from './judge.ts';
import { mutated } from './mutate.ts';
import { secretsOf } from './secrets.ts';
import type { FuzzTarget } from './target.ts';
import { requireThat } from './target.ts';
import { yamlWords } from './texts.ts';

/** The files of a node. The first byte of an input decides which one it replaces. */
const files: Readonly<Record<string, string>> = {
  a: kubeconfigFile,
  b: configFile,
};

function sound({ pairs, token }: Corpus): Readonly<Record<string, string>> {
  const [pem = new Uint8Array()] = pairs;
  const data = Buffer.from(pem).toString('base64');
  return {
    [kubeconfigFile]: kubeconfigOf([
      `client-certificate-data: ${data}`,
      `client-key-data: "${data}" # of ${token}`,
      `token: ${token}`,
    ]),
    [configFile]: `${kubeletConfig}staticPodURLHeader:\n  Authorization:\n  - Bearer ${token}\n`,
  };
}

/** A change is shown on a terminal before it is made, so it must not contain secrets or escape sequences. */
const adoption: FuzzTarget = {
  name: 'adoption',
  module: import.meta.url,
  fault: 'damaged files of a node that is to be adopted',
  inputs: 2_000,
  generator: (corpus) => {
    const texts = sound(corpus);
    const seeds = Object.entries(files).map(([letter, file]) => ({
      letter,
      text: Buffer.from(texts[file] ?? ''),
    }));
    return (random) => {
      const { letter, text } = random.pick(seeds);
      return Buffer.concat([
        Buffer.from(letter),
        mutated({ seeds: [text], words: yamlWords }, random),
      ]);
    };
  },
  open: ({ corpus, directory }) => {
    const texts = sound(corpus);
    const secrets = secretsOf(corpus);
    const tree = new Tree(directory);
    for (const [file, text] of Object.entries(texts)) put(directory, file, Buffer.from(text));
    return {
      feed: async (input) => {
        const file = files[String.fromCharCode(input[0] ?? 0)] ?? configFile;
        put(directory, file, input.subarray(1));
        try {
          const facts = await gatherFacts({ ...requestFor(tree), now: 0 });
          return outcomeOf(planAdoption(facts), secrets);
        } finally {
          put(directory, file, Buffer.from(texts[file] ?? ''));
        }
      },
    };
  },
};

function put(directory: string, file: string, bytes: Uint8Array): void {
  const path = join(directory, file);
  mkdirSync(dirname(path), { recursive: true });
  rmSync(path, { force: true });
  writeFileSync(path, bytes);
}

function outcomeOf(plan: Plan, secrets: ReadonlySet<string>): string {
  const { steps, obstacles, notes } = plan;
  const diffs = steps.map(stepDiff);
  const shown = JSON.stringify([
    obstacles,
    notes,
    steps.map(({ what, why }) => [what, why]),
    diffs,
  ]);
  const leak = pieceIn(shown, secrets);
  requireThat(leak === undefined, () => `shows ${leak} of a secret: ${shown}`);
  requireThat(!/[^\P{C}\n\t]/u.test(diffs.join('')), () => `moves the cursor: ${shown}`);
  if (obstacles.length > 0) return obstacles[0]?.id ?? '';
  return `${steps.length} steps`;
}

export const targets: readonly FuzzTarget[] = [adoption];
