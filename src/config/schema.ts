import * as v from 'valibot';
import { keyAlgorithms } from '../core/certificate-spec.ts';
import { usages } from '../core/certificate.ts';
import { hookSignals, systemctlVerbs } from '../core/hooks.ts';
import { canonicalIp } from '../core/ip-address.ts';
import { parseDuration } from './duration.ts';
import { parseHostPort } from './host-port.ts';
import { isDnsName, isHostName, isNodeName, isSignerName, isUnitName } from './names.ts';

/**
 * The shape of the configuration file: the source of its types, its defaults, its
 * errors and of config/config.schema.json. What holds between two keys is in rules.ts.
 */

export const apiVersion = 'nodecertd.io/v1alpha1';
export const kind = 'AgentConfiguration';
export const logLevels = ['debug', 'info', 'warn', 'error'] as const;
export const logFormats = ['json', 'text'] as const;

const text = v.pipe(v.string(), v.nonEmpty('expected a text that is not empty'));

const path = v.pipe(
  text,
  v.check((text) => !text.includes('\0'), 'expected a path without NUL'),
);

const expectIp = 'expected an IP address';
const expectDnsName = 'expected a DNS name';

const dnsNames = v.pipe(
  v.array(
    v.pipe(
      v.string(),
      v.check(isDnsName, expectDnsName),
      v.check((name) => canonicalIp(name) === undefined, 'is an IP address: put it in ipAddresses'),
    ),
  ),
  v.description('DNS names to put into the certificate'),
);

const ipAddresses = v.pipe(
  v.array(
    v.pipe(
      v.string(),
      v.check((address) => canonicalIp(address) !== undefined, expectIp),
    ),
  ),
  v.description('IP addresses to put into the certificate'),
);

function duration(standard: string, least: number, most: string) {
  const expected = 'expected a duration such as 90s, 30m or 1h30m';
  return v.optional(
    v.pipe(
      v.string(),
      v.check((text) => parseDuration(text) !== undefined, expected),
      v.check((text) => (parseDuration(text) ?? least) >= least, `expected at least ${least}s`),
      v.check(
        (text) => (parseDuration(text) ?? 0) <= (parseDuration(most) ?? 0),
        `expected at most ${most}`,
      ),
    ),
    standard,
  );
}

const absoluteProgram = v.pipe(
  v.array(
    v.pipe(
      v.string(),
      v.check((text) => !text.includes('\0'), 'expected a text without NUL'),
    ),
  ),
  v.nonEmpty('expected a program'),
  v.check(
    ([program = '']) => program.startsWith('/'),
    'expected the absolute path of a program first',
  ),
);

/** One map for all kinds of hooks, so that a wrong key is told from a missing one; rules.ts says which belong together. */
const hook = v.strictObject({
  command: v.pipe(
    v.optional(absoluteProgram),
    v.description('A program by its absolute path, and its arguments; no shell takes them apart'),
  ),
  systemctl: v.pipe(
    v.optional(v.picklist(systemctlVerbs)),
    v.description('What systemctl is to do with the unit'),
  ),
  signal: v.pipe(
    v.optional(v.picklist(hookSignals)),
    v.description('Sent to the main process of the unit'),
  ),
  unit: v.pipe(
    v.optional(
      v.pipe(v.string(), v.check(isUnitName, 'expected the name of a unit, such as nginx.service')),
    ),
    v.description('For systemctl and signal'),
  ),
  timeout: v.pipe(
    duration('30s', 1, '1h'),
    v.description('Of one try; the program and all that it started are ended then'),
  ),
  retries: v.pipe(
    v.optional(
      v.pipe(
        v.number(),
        v.integer('expected a whole number'),
        v.minValue(0, 'expected 0 or more'),
        v.maxValue(10, 'expected at most 10'),
      ),
      2,
    ),
    v.description('Further tries, after a pause that grows'),
  ),
});

const onRotate = v.pipe(
  v.optional(v.pipe(v.array(hook), v.maxLength(20, 'expected at most 20')), []),
  v.description('What to do, in this order, when another pair is in place'),
);

const served = v.pipe(
  v.optional(
    v.strictObject({
      endpoints: v.pipe(
        v.array(
          v.pipe(
            v.string(),
            v.check(
              (text) => (parseHostPort(text)?.port ?? 0) > 0,
              'expected host:port, such as 127.0.0.1:10250, [::1]:10250 or worker-1.example.com:443',
            ),
          ),
        ),
        v.nonEmpty('expected at least one'),
        v.maxLength(20, 'expected at most 20'),
        v.description('Where the certificate has to be found'),
      ),
      serverName: v.pipe(
        v.optional(v.pipe(v.string(), v.check(isHostName, 'expected a host name'))),
        v.description('Name to ask for (SNI); that of the endpoint when absent'),
      ),
      within: v.pipe(
        duration('30s', 1, '4m'),
        v.description('How long the servers may take after the hooks'),
      ),
      onFailure: v.pipe(
        v.optional(v.picklist(['report', 'rollback']), 'report'),
        v.description('rollback: back to the previous pair while that is valid'),
      ),
    }),
  ),
  v.description('Look whether the certificate on disk is the one that is served'),
);

const common = {
  name: v.pipe(
    v.string(),
    v.description('Unique; also the prefix of the files: NAME-current.pem, NAME-<timestamp>.pem'),
  ),
  key: v.optional(
    v.strictObject({
      algorithm: v.pipe(v.picklist(keyAlgorithms), v.description('Kind of the private key')),
    }),
    { algorithm: 'ecdsa-p256' },
  ),
  expirationSeconds: v.optional(
    v.pipe(
      v.number(),
      v.integer('expected a whole number'),
      // k/k #99494: the API server refuses less; the field is an int32.
      v.minValue(600, 'the API server refuses less than 600'),
      v.maxValue(2 ** 31 - 1, 'expected at most 2147483647'),
      v.description('Lifetime asked of the signer, which may issue less'),
    ),
  ),
  onRotate,
};

function addresses(from: 'node' | 'static') {
  return v.optional(
    v.strictObject({
      from: v.pipe(
        v.optional(v.picklist(['node', 'interfaces', 'static']), from),
        v.description(
          'node: status.addresses of the Node; interfaces: of this machine; static: only those listed here',
        ),
      ),
      dnsNames: v.optional(dnsNames, []),
      ipAddresses: v.optional(ipAddresses, []),
    }),
    { from },
  );
}

const listedNames = {
  dnsNames: v.optional(dnsNames, []),
  ipAddresses: v.optional(ipAddresses, []),
};

function selfSignedUntilIssued(standard: boolean) {
  return v.pipe(
    v.optional(v.boolean(), standard),
    v.description('Serve a self-signed pair until the first one is issued'),
  );
}

export const certificateSchema = v.variant('profile', [
  v.strictObject({ ...common, profile: v.literal('kubelet-client') }),
  v.strictObject({
    ...common,
    profile: v.literal('kubelet-serving'),
    addresses: addresses('node'),
    ...listedNames,
    selfSignedUntilIssued: selfSignedUntilIssued(true),
    served,
  }),
  v.strictObject({
    ...common,
    profile: v.literal('custom'),
    signerName: v.pipe(
      v.string(),
      v.check(isSignerName, 'expected a signer name such as example.com/serving'),
      v.description('Signer that the request is addressed to'),
    ),
    subject: v.strictObject({
      commonName: text,
      organizations: v.optional(v.array(text), []),
    }),
    usages: v.pipe(
      v.array(v.picklist(usages)),
      v.nonEmpty('expected at least one usage, such as client auth'),
      v.description('Key usages, by the names of certificates.k8s.io'),
    ),
    addresses: addresses('static'),
    ...listedNames,
    selfSignedUntilIssued: selfSignedUntilIssued(false),
    served,
  }),
]);

export const configFileSchema = v.strictObject({
  apiVersion: v.literal(apiVersion),
  kind: v.literal(kind),
  nodeName: v.pipe(
    v.optional(
      v.pipe(
        v.string(),
        v.check(
          (name) => isNodeName(name.toLowerCase()),
          'expected the name of a Node (a DNS-1123 subdomain)',
        ),
      ),
    ),
    v.description('Name of the Node; the host name in lower case when absent'),
  ),
  kubeconfig: v.pipe(
    v.optional(path, '/etc/kubernetes/kubelet.conf'),
    v.description('Written once there is a client certificate, and used while that is valid'),
  ),
  bootstrapKubeconfig: v.pipe(
    v.optional(path),
    v.description('Used when kubeconfig has no valid client certificate'),
  ),
  certificateDirectory: v.pipe(
    v.optional(path, '/var/lib/kubelet/pki'),
    v.description('Where the pairs and the links to the current ones are'),
  ),
  stateDirectory: v.pipe(
    v.optional(path, '/var/lib/nodecertd'),
    v.description('Holds state.json: requests outstanding and where the agent listens; no secrets'),
  ),
  certificates: v.pipe(
    v.optional(v.pipe(v.array(certificateSchema), v.nonEmpty('expected at least one')), [
      { name: 'kubelet-client', profile: 'kubelet-client' },
      { name: 'kubelet-server', profile: 'kubelet-serving' },
    ]),
    v.description('Certificates to keep'),
  ),
  store: v.optional(
    v.strictObject({
      previousPairs: v.pipe(
        v.optional(
          v.pipe(
            v.number(),
            v.integer('expected a whole number'),
            v.minValue(0, 'expected 0 or more'),
            v.maxValue(1_000, 'expected at most 1000'),
          ),
          2,
        ),
        v.description('Old pairs to keep beside the current one'),
      ),
      relativeLinks: v.pipe(
        v.optional(v.boolean(), false),
        v.description('Link without the directory, so that links hold in a mounted view'),
      ),
      acceptVolatileDirectory: v.pipe(
        v.optional(v.boolean(), false),
        v.description('Allow a certificate directory on a tmpfs, which is empty after a reboot'),
      ),
    }),
    {},
  ),
  addressRefresh: v.pipe(
    v.optional(
      v.pipe(
        v.string(),
        v.check(
          (text) => parseDuration(text) !== undefined,
          'expected a duration such as 90s, 30m or 1h30m',
        ),
        v.check(
          (text) => !isBetween(parseDuration(text) ?? 0, 0, 10),
          'expected 0s (watch all the time) or at least 10s, to spare the API server',
        ),
        v.check((text) => (parseDuration(text) ?? 0) <= 86_400, 'expected at most 24h'),
      ),
      '30m',
    ),
    v.description("Time between two looks at the Node's addresses; 0s watches it all the time"),
  ),
  kubelet: v.optional(
    v.strictObject({
      configFile: v.pipe(
        v.optional(path, '/var/lib/kubelet/config.yaml'),
        v.description(
          "The kubelet's own configuration, read to see whether it rotates the same certificates",
        ),
      ),
      configDirectory: v.pipe(
        v.optional(path),
        v.description("The kubelet's --config-dir: drop-ins to lay over its configuration"),
      ),
      certificateDirectory: v.pipe(
        v.optional(path, '/var/lib/kubelet/pki'),
        v.description("The kubelet's --cert-dir, where it keeps what it rotates itself"),
      ),
      standBack: v.pipe(
        v.optional(v.boolean(), true),
        v.description(
          'Only watch the certificates that the kubelet rotates itself, and write none',
        ),
      ),
    }),
    {},
  ),
  metrics: v.optional(
    v.strictObject({
      address: v.pipe(
        v.optional(
          v.pipe(
            v.string(),
            v.check(
              (text) => parseHostPort(text) !== undefined,
              'expected host:port, such as 127.0.0.1:9471 or [::1]:9471 (0.0.0.0 for all interfaces)',
            ),
          ),
          '127.0.0.1:9471',
        ),
        v.description('Where metrics, health and status are served; port 0 takes a free one'),
      ),
      kubeletNames: v.pipe(
        v.optional(v.boolean(), false),
        v.description("Export the metrics under the kubelet's own names too"),
      ),
    }),
    {},
  ),
  log: v.optional(
    v.strictObject({
      level: v.optional(v.picklist(logLevels), 'info'),
      format: v.optional(v.picklist(logFormats), 'json'),
    }),
    {},
  ),
});

export type ConfigFile = v.InferOutput<typeof configFileSchema>;
export type CertificateEntry = v.InferOutput<typeof certificateSchema>;

function isBetween(value: number, low: number, high: number): boolean {
  return low < value && value < high;
}
