import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type * as v from 'valibot';
import { formatInstant } from '../../../src/core/instant.ts';
import { Secret } from '../../../src/core/secret.ts';
import { mayI, whoAmI } from '../../../src/kube/access-review.ts';
import { parseJson } from '../../../src/kube/body.ts';
import { bootstrapTokenId, readBootstrapToken } from '../../../src/kube/bootstrap-token.ts';
import { parseResponse } from '../../../src/kube/rest-client.ts';
import { readKubeletConfig } from '../../../src/kubelet/configuration.ts';
import { jsonMutators } from './json.ts';
import { mutated } from './mutate.ts';
import { Random, seedOf } from './random.ts';
import type { FuzzTarget } from './target.ts';
import { requireThat } from './target.ts';
import { kubeletConfigurations, reviews } from './preflight-texts.ts';
import { yamlWords } from './texts.ts';
import { nowhere } from '../../support/cluster-access.ts';

/**
 * The inputs of `doctor` and of the preflight check: responses to reviews, and a
 * token's Secret.
 */
const answers: FuzzTarget = {
  name: 'review',
  module: import.meta.url,
  fault: 'damaged reviews and token Secrets',
  inputs: 100_000,
  generator: (corpus) => {
    const seeds = reviews(corpus.token);
    return (random) =>
      mutated(random.chance(0.5) ? { seeds } : { seeds, own: jsonMutators }, random);
  },
  open: () => ({ feed: readReview }),
};

/** Parses bytes as the client does, for different requests. */
async function readReview(input: Uint8Array): Promise<string> {
  const { signal } = new AbortController();
  const client = {
    access: nowhere,
    request: async <T>(_: unknown, schema: v.GenericSchema<unknown, T>): Promise<T> =>
      parseResponse(schema, parseJson(Buffer.from(input), 'get /a'), 'get /a'),
  };
  switch (new Random(seedOf(input)).below(3)) {
    case 0: {
      const question = { verb: 'create', group: 'certificates.k8s.io', resource: 'csrs' };
      const allowed: unknown = await mayI(client, question, signal);
      requireThat(typeof allowed === 'boolean', () => `allowed is ${String(allowed)}`);
      return allowed === true ? 'allowed' : 'not allowed';
    }
    case 1: {
      const identity = await whoAmI(client, signal);
      if (identity === 'unknown') return identity;
      const { username, groups } = identity;
      const texts: readonly unknown[] = [username, ...groups];
      requireThat(
        texts.every((text) => typeof text === 'string'),
        () => `not texts: ${texts.join()}`,
      );
      return 'an identity';
    }
    default: {
      const id = bootstrapTokenId(new Secret(Uint8Array.from(input.subarray(0, 23)))) ?? 'abcdef';
      const record = await readBootstrapToken(client, id, signal);
      if (typeof record === 'string') return record;
      if (record.expiration !== undefined) formatInstant(record.expiration);
      return record.forAuthentication ? 'a token' : 'no token for authentication';
    }
  }
}

const kubeletConfiguration: FuzzTarget = {
  name: 'kubelet-configuration',
  module: import.meta.url,
  fault: 'damaged kubelet configurations and drop-ins',
  inputs: 40_000,
  generator: () => {
    const seeds = kubeletConfigurations();
    return (random) => mutated({ seeds, words: yamlWords }, random);
  },
  open: ({ directory }) => {
    const configFile = join(directory, 'config.yaml');
    const configDirectory = join(directory, 'config.d');
    mkdirSync(configDirectory);
    const config = { kubelet: { configFile, configDirectory } };
    const [sound = ''] = kubeletConfigurations();
    return {
      feed: async (input) => {
        // Half of them damage what a sound file has said before.
        const dropIn = new Random(seedOf(input)).chance(0.5);
        writeFileSync(configFile, dropIn ? sound : input);
        writeFileSync(join(configDirectory, '10-a.conf'), dropIn ? input : '{}');
        const facts = await readKubeletConfig(config);
        for (const setting of [facts.rotateCertificates, facts.serverTLSBootstrap]) {
          requireThat(
            setting === undefined || typeof setting.value === 'boolean',
            () => `a setting is ${JSON.stringify(setting)}`,
          );
        }
        return facts.rotateCertificates === undefined ? 'silent' : 'ok';
      },
    };
  },
};

export const targets: readonly FuzzTarget[] = [answers, kubeletConfiguration];
