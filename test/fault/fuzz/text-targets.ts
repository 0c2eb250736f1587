import { writeFileSync } from 'node:fs';
import { isIP, isIPv6, SocketAddress } from 'node:net';
import { join } from 'node:path';
import { canonicalIp } from '../../../src/core/ip-address.ts';
import { hasCode } from '../../../src/core/errors.ts';
import { formatInstant } from '../../../src/core/instant.ts';
import { Secret } from '../../../src/core/secret.ts';
import { parseDuration } from '../../../src/config/duration.ts';
import { formatHostPort, parseHostPort } from '../../../src/core/host-port.ts';
import { loadConfig } from '../../../src/config/load.ts';
import { isDnsName } from '../../../src/core/host-name.ts';
import { isSignerName, prefixObjection } from '../../../src/config/names.ts';
import { isNodeName } from '../../../src/core/node-name.ts';
import { nearest } from '../../../src/config/nearest.ts';
import { BearerToken } from '../../../src/kube/bearer-token.ts';
import { jwtExpiry } from '../../../src/kube/bootstrap-token.ts';
import { loadValidKubeconfig } from '../../../src/kube/credential-validity.ts';
import { loadKubeconfig } from '../../../src/kube/kubeconfig.ts';
import { KubeClient } from '../../../src/kube/rest-client.ts';
import { parseRetryAfter } from '../../../src/core/timing.ts';
import { isPairFile, setAsideMoment } from '../../../src/store/pair-names.ts';
import { peekState, readState } from '../../../src/store/state-file.ts';
import { systemClock } from '../../../src/sys/clock.ts';
import {
  configurationArbitrary,
  kubeconfigArbitrary,
  sampler,
  stateArbitrary,
} from './arbitraries.ts';
import { jsonMutators, oddTexts } from './json.ts';
import type { MutationSource } from './mutate.ts';
import { mutated } from './mutate.ts';
import type { Random } from './random.ts';
import type { FuzzTarget } from './target.ts';
import { requireThat } from './target.ts';
import { configurations, kubeconfigs, states, yamlWords } from './texts.ts';

const addresses = [
  '10.0.0.1',
  '255.255.255.255',
  '0.0.0.0',
  '::',
  '::1',
  'fd00::1',
  '::ffff:10.0.0.1',
  '1:2:3:4:5:6:7:8',
  '2001:db8::1:0:0:1',
  'fe80::1%eth0',
  '1::',
  '::1:2:3:4:5:6:7',
  '64:ff9b::1.2.3.4',
].map((text) => Buffer.from(text));

const ips: FuzzTarget = {
  name: 'ip',
  module: import.meta.url,
  fault: 'texts like IP addresses',
  inputs: 300_000,
  generator: () => {
    const words = ['::', ':', '.', '0', '00', 'ffff', '256', '%', '1.2.3.4', 'g', '-', '+', ' '];
    return (random) => mutated({ seeds: addresses, words }, random);
  },
  open: () => ({ feed: readIp }),
};

/** Must agree with node:net on what an address is, and with the operating system on its text. */
function readIp(input: Uint8Array): string {
  const text = Buffer.from(input).toString();
  const canonical = canonicalIp(text);
  const kind = text.includes('%') ? 0 : isIP(text);
  requireThat(
    (canonical === undefined) === (kind === 0),
    () => `${JSON.stringify(text)}: isIP says ${kind}`,
  );
  if (canonical === undefined) return 'none';
  requireThat(canonicalIp(canonical) === canonical, () => `${canonical} is not canonical`);
  if (isIPv6(canonical)) {
    const { address } = new SocketAddress({ address: text, family: 'ipv6' });
    requireThat(
      address === canonical || address.includes('.'),
      () => `${text} is ${canonical}, to the system ${address}`,
    );
  }
  return `IPv${isIP(canonical)}`;
}

const values: FuzzTarget = {
  name: 'values',
  module: import.meta.url,
  fault: 'texts like names, durations, addresses, file names, dates, tokens',
  inputs: 100_000,
  generator: () => {
    const texts = ['1h30m', '90s', '127.0.0.1:9471', '[::1]:80', 'localhost:1', '*.a.example.com'];
    const more = ['a-b.c-d', 'example.com/signer', 'kubelet-client-2026-01-01-00-00-00.pem', '120'];
    const stamp = 'kubelet-client-2026-01-01-00-00-00.pem.corrupt-2026-01-01-00-00-00';
    const seeds = [
      ...texts,
      ...more,
      stamp,
      'Fri, 31 Dec 2027 23:59:59 GMT',
      `eyJ.${Buffer.from('{"exp":1800000000}').toString('base64url')}.x`,
      ...oddTexts,
    ].map((text) => Buffer.from(text));
    const words = [
      'a',
      '-',
      '.',
      '1',
      'h',
      'm',
      ':',
      '[',
      '-'.repeat(3_000),
      'a.'.repeat(3_000),
      '9'.repeat(3_000),
    ];
    return (random) => mutated({ seeds, words }, random);
  },
  open: () => ({ feed: readValue }),
};

function readValue(input: Uint8Array): string {
  const text = Buffer.from(input).toString();
  const seconds = parseDuration(text);
  requireThat(seconds === undefined || seconds >= 0, () => `${text} is ${seconds} s`);
  const address = parseHostPort(text);
  if (address !== undefined) {
    const again = parseHostPort(formatHostPort(address));
    requireThat(
      JSON.stringify(again) === JSON.stringify(address),
      () => `${text} changes when written`,
    );
  }
  const wait = parseRetryAfter(text, 0);
  requireThat(
    wait === undefined || (wait >= 0 && wait <= 3_600_000),
    () => `${text}: wait ${wait} ms`,
  );
  const expiry = jwtExpiry(new Secret(Uint8Array.from(input)));
  if (expiry !== undefined) formatInstant(expiry);
  nearest(text, ['certificateDirectory', 'kubeconfig', 'log']);
  prefixObjection(text);
  setAsideMoment('kubelet-client', text);
  const is = [
    isDnsName(text),
    isNodeName(text),
    isSignerName(text),
    isPairFile('kubelet-client', text),
  ];
  return is.some(Boolean) || seconds !== undefined || address !== undefined ? 'ok' : 'none';
}

const kubeconfig: FuzzTarget = {
  name: 'kubeconfig',
  module: import.meta.url,
  fault: 'damaged kubeconfigs',
  inputs: 20_000,
  generator: (corpus) =>
    yaml({ seeds: kubeconfigs(corpus), words: yamlWords }, sampler(kubeconfigArbitrary)),
  open: ({ corpus, directory }) => {
    const path = join(directory, 'kubeconfig');
    writeFileSync(join(directory, 'pair.pem'), corpus.pairs.at(-1) ?? '');
    writeFileSync(join(directory, 'token'), corpus.token);
    return {
      feed: async (input) => {
        writeFileSync(path, input);
        return useKubeconfig(path);
      },
    };
  },
};

/** Everything that an agent does before it sends the first byte. */
async function useKubeconfig(path: string): Promise<string> {
  using access = await loadKubeconfig(path);
  await new BearerToken(access, systemClock).header();
  await using client = await KubeClient.open({ access, version: '1', clock: systemClock });
  requireThat(client.access === access, () => 'another access');
  using valid = await loadValidKubeconfig(path, Date.now());
  return valid.credential.clientCertificate === undefined ? 'token' : 'ok';
}

const configuration: FuzzTarget = {
  name: 'configuration',
  module: import.meta.url,
  fault: 'damaged configurations',
  inputs: 40_000,
  generator: (corpus) =>
    yaml({ seeds: configurations(corpus), words: yamlWords }, sampler(configurationArbitrary)),
  open: ({ directory }) => {
    const file = join(directory, 'config.yaml');
    const environment = { hostName: 'worker-1', workingDirectory: directory };
    return {
      feed: async (input) => {
        writeFileSync(file, input);
        const { certificates } = await loadConfig({ file, flags: {}, environment });
        requireThat(certificates.length > 0, () => 'no certificate to keep');
        return 'ok';
      },
    };
  },
};

const state: FuzzTarget = {
  name: 'state',
  module: import.meta.url,
  fault: 'damaged state files',
  inputs: 40_000,
  generator: () => {
    const grown = sampler(stateArbitrary);
    const seeds = states();
    return (random) => {
      if (random.chance(0.2)) return grown(random);
      return mutated(random.chance(0.5) ? { seeds } : { seeds, own: jsonMutators }, random);
    };
  },
  open: ({ directory }) => ({
    feed: async (input) => {
      writeFileSync(join(directory, 'state.json'), input);
      const peeked = await peekState(directory);
      const read = await readState(directory).catch((error: unknown) => {
        // The whole state of another program, which stays where it is.
        if (hasCode(error, 'STORE_IO') && peeked === undefined) return undefined;
        throw error;
      });
      if (read === undefined) return 'refused';
      const { state, setAside } = read;
      requireThat(
        (peeked === undefined) === (setAside !== undefined),
        () => 'peek and read disagree',
      );
      for (const { outstanding, rolledBack } of Object.values(state.certificates)) {
        if (rolledBack !== undefined) formatInstant(rolledBack.until);
        for (const { createdAt } of outstanding) formatInstant(createdAt);
      }
      if (state.startedAt !== undefined) formatInstant(state.startedAt);
      return setAside === undefined ? 'ok' : 'set aside';
    },
  }),
};

/** YAML damaged as text, or a random JSON object, which is YAML too, with a little damage. */
function yaml(
  source: MutationSource,
  grown: (random: Random) => Uint8Array,
): (random: Random) => Uint8Array {
  return (random) => {
    if (random.chance(0.8)) return mutated(source, random);
    const tree = grown(random);
    return random.chance(0.5) ? tree : mutated({ seeds: [tree], own: jsonMutators }, random);
  };
}

export const targets: readonly FuzzTarget[] = [ips, values, kubeconfig, configuration, state];
