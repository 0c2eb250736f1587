import fc from 'fast-check';
import { oddTexts } from './json.ts';
import type { Random } from './random.ts';

/** Objects with the right keys, and sometimes a wrong or missing value. */
function loosely(shape: Readonly<Record<string, fc.Arbitrary<unknown>>>): fc.Arbitrary<unknown> {
  const fields = Object.entries(shape).map(
    ([key, value]) =>
      [
        key,
        fc.oneof({ weight: 12, arbitrary: value }, { weight: 1, arbitrary: anything }),
      ] as const,
  );
  return fc.record(Object.fromEntries(fields), { requiredKeys: [] });
}

const anything = fc.jsonValue({ maxDepth: 3 });
// fc.string with graphemes would need tables of 85 MB, and seconds to create them.
const text = fc.oneof(fc.string({ maxLength: 30 }), fc.constantFrom(...oddTexts));
const host = fc.oneof(fc.constantFrom('worker-1', 'a.example.com', '*.example.com'), text);
const ip = fc.oneof(fc.ipV4(), fc.ipV6());
const url = fc.oneof(
  fc.constantFrom('https://10.0.0.1:6443', 'https://a/b', 'http://u:p@proxy:3128', 'https://%zz@a'),
  text,
);
const base64 = fc.base64String({ maxLength: 400 });
const moment = fc.oneof(
  fc.date({ noInvalidDate: true }).map((date) => date.toISOString()),
  text,
);

const metadata = loosely({
  name: text,
  uid: fc.uuid(),
  resourceVersion: fc.nat().map(String),
  creationTimestamp: moment,
});

const condition = loosely({
  type: fc.constantFrom('Approved', 'Denied', 'Failed', 'Other'),
  status: fc.constantFrom('True', 'False', 'Unknown', ''),
  reason: text,
  message: text,
});

export const csrArbitrary = loosely({
  metadata,
  spec: loosely({ request: base64, signerName: text }),
  status: loosely({ conditions: fc.array(condition, { maxLength: 4 }), certificate: base64 }),
});

export const nodeArbitrary = loosely({
  metadata,
  status: loosely({
    addresses: fc.array(
      loosely({
        type: fc.constantFrom('Hostname', 'InternalIP', 'ExternalIP', 'InternalDNS', 'Other'),
        address: fc.oneof(ip, host),
      }),
    ),
  }),
});

export const statusArbitrary = loosely({
  kind: fc.constant('Status'),
  code: fc.oneof(fc.integer({ min: 100, max: 600 }), fc.double()),
  reason: text,
  message: text,
  details: loosely({ retryAfterSeconds: fc.double() }),
});

const names = loosely({
  from: fc.constantFrom('node', 'interfaces', 'static'),
  dnsNames: fc.array(host, { maxLength: 4 }),
  ipAddresses: fc.array(ip, { maxLength: 4 }),
});

export const configurationArbitrary = loosely({
  apiVersion: fc.constant('nodecertd.io/v1alpha1'),
  kind: fc.constant('AgentConfiguration'),
  nodeName: host,
  certificateDirectory: text,
  certificates: fc.array(
    loosely({
      name: fc.oneof(fc.constantFrom('a', 'kubelet-client', 'constructor', 'a-current'), text),
      profile: fc.constantFrom('kubelet-client', 'kubelet-serving', 'custom'),
      key: loosely({ algorithm: fc.constantFrom('ecdsa-p256', 'rsa-2048', 'ed25519', 'dsa') }),
      expirationSeconds: fc.integer(),
      addresses: names,
      signerName: fc.constantFrom('example.com/x', 'x'),
      subject: loosely({ commonName: text, organizations: fc.array(text, { maxLength: 3 }) }),
      usages: fc.subarray(['client auth', 'server auth', 'digital signature', 'sign']),
    }),
    { maxLength: 4 },
  ),
  addressRefresh: fc.oneof(
    fc.nat().map((seconds) => `${seconds}s`),
    text,
  ),
  metrics: loosely({
    address: fc.oneof(fc.constantFrom('127.0.0.1:9471', '[::1]:0', 'localhost:70000'), text),
    kubeletNames: fc.boolean(),
  }),
  inventory: loosely({
    enabled: fc.boolean(),
    interval: fc.constantFrom('1m', '10s', '25h', 'never'),
    paths: fc.array(text, { maxLength: 3 }),
  }),
});

export const kubeconfigArbitrary = loosely({
  kind: fc.constant('Config'),
  'current-context': fc.constant('a'),
  contexts: fc.constant([{ name: 'a', context: { cluster: 'a', user: 'a' } }]),
  clusters: fc.tuple(
    loosely({
      name: fc.constant('a'),
      cluster: loosely({
        server: url,
        'certificate-authority': text,
        'certificate-authority-data': base64,
        'tls-server-name': host,
        'proxy-url': url,
        'insecure-skip-tls-verify': fc.boolean(),
      }),
    }),
  ),
  users: fc.tuple(
    loosely({
      name: fc.constant('a'),
      user: loosely({
        token: text,
        tokenFile: text,
        'client-key-data': base64,
        as: text,
        'as-groups': fc.array(text),
        'as-user-extra': fc.dictionary(text, fc.array(text)),
        exec: loosely({
          apiVersion: fc.constant('client.authentication.k8s.io/v1'),
          command: text,
          args: fc.array(text),
          env: fc.array(loosely({ name: text, value: text })),
          interactiveMode: fc.constantFrom('Never', 'IfAvailable', 'Always'),
        }),
      }),
    }),
  ),
});

export const stateArbitrary = loosely({
  pid: fc.integer(),
  startedAt: fc.double(),
  metricsAddress: text,
  certificates: fc.dictionary(
    text,
    loosely({
      outstanding: fc.array(loosely({ csr: text, createdAt: fc.double() })),
      hooksPending: text,
      renewed: fc.array(text),
      reported: fc.dictionary(text, text),
      rolledBack: loosely({ from: text, to: text, count: fc.integer(), until: fc.double() }),
    }),
  ),
});

/**
 * Values of an arbitrary as JSON, from our own random numbers, so that each can be
 * repeated alone.
 */
export function sampler(arbitrary: fc.Arbitrary<unknown>): (random: Random) => Uint8Array {
  return (random) => {
    // Chooses one of ten values, because fast-check begins with small ones.
    const values = fc.sample(arbitrary, { seed: random.integer(), numRuns: 10 });
    return Buffer.from(JSON.stringify(random.pick(values)) ?? '');
  };
}
