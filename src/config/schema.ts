import * as v from 'valibot';
import { parseCaPin } from '../core/ca-pin.ts';
import { keyAlgorithms } from '../core/certificate-spec.ts';
import { usages } from '../core/certificate.ts';
import { hookSignals, systemctlVerbs } from '../core/hooks.ts';
import { parseFingerprint } from '../core/fingerprint.ts';
import { isDnsName, isHostName } from '../core/host-name.ts';
import { canonicalIp } from '../core/ip-address.ts';
import { parseMaintenanceWindow } from '../core/maintenance-window.ts';
import { isNodeName } from '../core/node-name.ts';
import { parseDuration } from './duration.ts';
import { parseApiEndpoint, parseHostPort } from '../core/host-port.ts';
import { isSignerName, isUnitName } from './names.ts';
import { parsePercentage } from './percentage.ts';

/**
 * The shape of the configuration file. Its types, defaults and errors come from here,
 * and so does config/config.schema.json. Rules between two keys are in rules.ts;
 * docs/configuration.md lists every key, and a test compares it with this file.
 */

export const apiVersion = 'nodecertd.io/v1alpha1';
export const kind = 'AgentConfiguration';
export const logLevels = ['debug', 'info', 'warn', 'error'] as const;
export const logFormats = ['json', 'text'] as const;

const text = v.pipe(v.string(), v.nonEmpty('expected a string that is not empty'));

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
  v.description('Additional DNS names for the certificate'),
);

const ipAddresses = v.pipe(
  v.array(
    v.pipe(
      v.string(),
      v.check((address) => canonicalIp(address) !== undefined, expectIp),
    ),
  ),
  v.description('Additional IP addresses for the certificate'),
);

function duration(standard: string, least: string, most: string) {
  const expected = 'expected a duration such as 90s, 30m or 1h30m';
  return v.optional(
    v.pipe(
      v.string(),
      v.check((text) => parseDuration(text) !== undefined, expected),
      v.check(
        (text) => (parseDuration(text) ?? Infinity) >= (parseDuration(least) ?? 0),
        `expected at least ${least}`,
      ),
      v.check(
        (text) => (parseDuration(text) ?? 0) <= (parseDuration(most) ?? 0),
        `expected at most ${most}`,
      ),
    ),
    standard,
  );
}

const expectPercentage = 'expected a percentage such as 70%';

const percentage = v.pipe(
  v.string(expectPercentage),
  v.check((text) => parsePercentage(text) !== undefined, expectPercentage),
);

/** rules.ts compares the two ends. */
export const windowSchema = v.strictObject({
  from: v.pipe(
    percentage,
    v.check(
      (text) => (parsePercentage(text) ?? 1) >= 0.1,
      'expected at least 10%, to spare the API server and the signer',
    ),
    v.description('Start of the rotation window, as a percentage of the lifetime'),
  ),
  to: v.pipe(
    percentage,
    v.check(
      (text) => (parsePercentage(text) ?? 0) <= 0.95,
      'expected at most 95%, to leave time for retries before the expiry',
    ),
    v.description('End of the rotation window, as a percentage of the lifetime'),
  ),
});

const absoluteProgram = v.pipe(
  v.array(
    v.pipe(
      v.string(),
      v.check((text) => !text.includes('\0'), 'expected a string without NUL'),
    ),
  ),
  v.nonEmpty('expected a program'),
  v.check(
    ([program = '']) => program.startsWith('/'),
    'expected the absolute path of a program first',
  ),
);

/**
 * One map for all kinds of hooks, so that errors can distinguish a wrong key from a missing key.
 * rules.ts checks the combination.
 */
const hook = v.strictObject({
  command: v.pipe(
    v.optional(absoluteProgram),
    v.description('Absolute path of a program and its arguments; no shell is involved'),
  ),
  systemctl: v.pipe(
    v.optional(v.picklist(systemctlVerbs)),
    v.description('Action of systemctl on the unit'),
  ),
  signal: v.pipe(
    v.optional(v.picklist(hookSignals)),
    v.description('Signal for the main process of the unit'),
  ),
  unit: v.pipe(
    v.optional(
      v.pipe(v.string(), v.check(isUnitName, 'expected the name of a unit, such as nginx.service')),
    ),
    v.description('Unit for systemctl or signal'),
  ),
  timeout: v.pipe(
    duration('30s', '1s', '1h'),
    v.description('Timeout of one attempt; it ends the program and every process of its session'),
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
    v.description('Retries after the first attempt, with growing delays'),
  ),
});

const hooks = v.optional(v.pipe(v.array(hook), v.maxLength(20, 'expected at most 20')), []);

const onRotate = v.pipe(
  hooks,
  v.description('Hooks, which run in this order after a new certificate is linked'),
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
        v.description('Addresses (host:port) that must present the certificate'),
      ),
      serverName: v.pipe(
        v.optional(v.pipe(v.string(), v.check(isHostName, 'expected a host name'))),
        v.description('Server name to send (SNI); by default the host name of the endpoint'),
      ),
      within: v.pipe(
        duration('30s', '1s', '4m'),
        v.description(
          'Time after the hooks in which a server may still present the previous certificate',
        ),
      ),
      onFailure: v.pipe(
        v.optional(v.picklist(['report', 'rollback']), 'report'),
        v.description(
          'report: log the failure and export it as a metric; rollback: link the previous certificate again, if it is still valid',
        ),
      ),
    }),
  ),
  v.description('Check that servers present the certificate that is on disk'),
);

const common = {
  name: v.pipe(
    v.string(),
    v.description('Unique name and prefix of the files: NAME-current.pem, NAME-<timestamp>.pem'),
  ),
  key: v.optional(
    v.strictObject({
      algorithm: v.pipe(v.picklist(keyAlgorithms), v.description('Algorithm of the private key')),
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
      v.description('Requested lifetime in seconds; the signer may issue a shorter one'),
    ),
  ),
  rotation: v.pipe(
    v.optional(windowSchema),
    v.description('Rotation window of this certificate; by default the top-level rotation'),
  ),
  onRotate,
};

function addresses(from: 'node' | 'static') {
  return v.optional(
    v.strictObject({
      from: v.pipe(
        v.optional(v.picklist(['node', 'interfaces', 'static']), from),
        v.description(
          "node: the Node's status.addresses; interfaces: the addresses of this machine; static: only the listed names",
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
    v.description('Use a temporary self-signed certificate until the first one is issued'),
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
      v.description('Signer that issues the certificate'),
    ),
    subject: v.strictObject({
      commonName: v.pipe(text, v.description('Common name (CN)')),
      organizations: v.pipe(
        v.optional(v.array(text), []),
        v.description('Organizations (O): groups for a client certificate'),
      ),
    }),
    usages: v.pipe(
      v.array(v.picklist(usages)),
      v.nonEmpty('expected at least one usage, such as client auth'),
      v.description('Key usages, with their names in certificates.k8s.io'),
    ),
    addresses: addresses('static'),
    ...listedNames,
    selfSignedUntilIssued: selfSignedUntilIssued(false),
    served,
  }),
]);

const maintenanceWindow = v.pipe(
  v.string(),
  v.check(
    (text) => windowProblem(text) === undefined,
    ({ input }) => windowProblem(input) ?? '',
  ),
);

function windowProblem(text: string): string | undefined {
  const parsed = parseMaintenanceWindow(text);
  return 'problem' in parsed ? parsed.problem : undefined;
}

export const pkiSchema = v.strictObject({
  enabled: v.pipe(
    v.optional(v.boolean(), false),
    v.description('Renew the control-plane certificates of this node when they are due'),
  ),
  directory: v.pipe(
    v.optional(path, '/etc/kubernetes'),
    v.description('Directory of the kubeconfigs, the manifests and pki/'),
  ),
  rotation: v.pipe(
    v.optional(windowSchema),
    v.description('Rotation window of these certificates; by default the top-level rotation'),
  ),
  window: v.pipe(
    v.optional(maintenanceWindow),
    v.description(
      'Maintenance window in local time, such as Sun 02:00-04:00: renew only then, once less than a third of the lifetime is left',
    ),
  ),
  hooks: v.pipe(hooks, v.description('Hooks, which run in this order after a renewal')),
});

const caPin = v.pipe(
  v.string(),
  v.check(
    (text) => parseCaPin(text) !== undefined,
    'expected sha256: and 64 hexadecimal digits, as in --discovery-token-ca-cert-hash of kubeadm',
  ),
);

const pathList = v.pipe(v.array(path), v.maxLength(100, 'expected at most 100'));

export const trustSchema = v.strictObject({
  enabled: v.pipe(
    v.optional(v.boolean(), false),
    v.description('Keep the CAs that this node trusts in step with the cluster'),
  ),
  file: v.pipe(
    v.optional(path),
    v.description("PEM file with the CAs of the cluster; it comes before the cluster's objects"),
  ),
  caCertHashes: v.pipe(
    v.optional(v.pipe(v.array(caPin), v.maxLength(16, 'expected at most 16')), []),
    v.description('Accept a new CA only if the hash of its public key is in this list'),
  ),
  kubeconfigs: v.pipe(
    v.optional(pathList, []),
    v.description('Further kubeconfigs in which nodecertd manages the CAs'),
  ),
  files: v.pipe(
    v.optional(pathList, []),
    v.description('Further PEM files in which nodecertd manages the CAs'),
  ),
  externalize: v.pipe(
    v.optional(v.boolean(), false),
    v.description(
      "Move the CAs that the kubelet's kubeconfig embeds to a file, which the kubelet reloads",
    ),
  ),
  kubelet: v.pipe(
    v.optional(v.picklist(['restart', 'hook', 'none']), 'restart'),
    v.description(
      'How a kubelet that does not reload new CAs starts to use them: nodecertd restarts it, a hook does, or nothing',
    ),
  ),
  spread: v.pipe(
    duration('10m', '0s', '24h'),
    v.description('Time over which the nodes spread the restarts of their kubelets'),
  ),
  issuer: v.pipe(
    v.optional(
      v.pipe(
        v.string(),
        v.check(
          (text) => parseFingerprint(text) !== undefined,
          'expected the SHA-256 fingerprint of a CA: 64 hexadecimal digits, with or without colons',
        ),
      ),
    ),
    v.description(
      'SHA-256 fingerprint of the CA that has to issue the certificates; by default the CA that the signer uses',
    ),
  ),
  reissueSpread: v.pipe(
    duration('1h', '0s', '168h'),
    v.description('Time over which the nodes spread their requests for certificates from a new CA'),
  ),
  holdServing: v.pipe(
    v.optional(v.boolean(), false),
    v.description('Do not request a serving certificate from a new CA yet'),
  ),
  drop: v.pipe(
    v.optional(v.picklist(['manual', 'auto']), 'manual'),
    v.description(
      'manual: only nodecertd trust drop removes a CA; auto: the agent removes it when it is safe',
    ),
  ),
  dropAfter: v.pipe(
    duration('24h', '10m', '8760h'),
    v.description('Time for which the source has to lack a CA before the CA can be removed'),
  ),
  onTrustChange: v.pipe(
    hooks,
    v.description('Hooks, which run in this order after the CAs in a file have changed'),
  ),
});

const discoverySchema = v.strictObject({
  endpoints: v.pipe(
    v.array(
      v.pipe(
        v.string(),
        v.check(
          (text) => parseApiEndpoint(text) !== undefined,
          'expected the address of an API server, such as 10.0.0.1, [fd00::1]:6443 or api.example.com:6443',
        ),
      ),
    ),
    v.nonEmpty('expected at least one'),
    v.maxLength(20, 'expected at most 20'),
    v.description('Addresses of API servers, tried in turn; the default port is 6443'),
  ),
  tokenFile: v.pipe(
    path,
    v.description('File with the bootstrap token, read again for each attempt'),
  ),
  caCertHashes: v.pipe(
    v.array(caPin),
    v.nonEmpty('expected at least one'),
    v.maxLength(16, 'expected at most 16'),
    v.description('Hashes of the public keys of the CAs that the cluster may have'),
  ),
});

export const bootstrapSchema = v.strictObject({
  discovery: v.pipe(
    v.optional(discoverySchema),
    v.description('Find the cluster with a bootstrap token while the node has no usable trust'),
  ),
  deleteAfterUse: v.pipe(
    v.optional(v.boolean(), false),
    v.description(
      'Remove the bootstrap kubeconfig and the token file once the node has its client certificate',
    ),
  ),
});

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
    v.description('Name of the Node; by default the host name in lower case'),
  ),
  kubeconfig: v.pipe(
    v.optional(path, '/etc/kubernetes/kubelet.conf'),
    v.description(
      'Kubeconfig of the kubelet: written after a bootstrap, used while its client certificate is valid',
    ),
  ),
  bootstrapKubeconfig: v.pipe(
    v.optional(path),
    v.description(
      'Kubeconfig with a bootstrap token: used while there is no valid client certificate, read again for each attempt',
    ),
  ),
  bootstrap: v.optional(bootstrapSchema, {}),
  certificateDirectory: v.pipe(
    v.optional(path, '/var/lib/kubelet/pki'),
    v.description('Directory of the certificates, the keys and the links to the current ones'),
  ),
  stateDirectory: v.pipe(
    v.optional(path, '/var/lib/nodecertd'),
    v.description(
      'Directory of state.json (outstanding CSRs, pending hooks, the address of the agent) and of copies of kubeconfigs',
    ),
  ),
  certificates: v.pipe(
    v.optional(v.pipe(v.array(certificateSchema), v.nonEmpty('expected at least one')), [
      { name: 'kubelet-client', profile: 'kubelet-client' },
      { name: 'kubelet-server', profile: 'kubelet-serving' },
    ]),
    v.description('Certificates that nodecertd keeps valid'),
  ),
  rotation: v.pipe(
    v.optional(windowSchema, { from: '70%', to: '90%' }),
    v.description('Part of the lifetime in which certificates are rotated'),
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
        v.description('Number of previous certificates to keep, with their keys'),
      ),
      relativeLinks: v.pipe(
        v.optional(v.boolean(), false),
        v.description(
          'Create relative links, which stay valid if the directory is mounted at another path',
        ),
      ),
      acceptVolatileDirectory: v.pipe(
        v.optional(v.boolean(), false),
        v.description('Accept a certificate directory on a tmpfs, which is empty after a reboot'),
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
    v.description("Interval between reads of the Node's addresses; 0s keeps a watch open instead"),
  ),
  kubelet: v.optional(
    v.strictObject({
      configFile: v.pipe(
        v.optional(path, '/var/lib/kubelet/config.yaml'),
        v.description(
          "The kubelet's configuration file, read to find out whether the kubelet rotates certificates itself",
        ),
      ),
      configDirectory: v.pipe(
        v.optional(path),
        v.description("The kubelet's --config-dir with drop-ins for its configuration"),
      ),
      certificateDirectory: v.pipe(
        v.optional(path, '/var/lib/kubelet/pki'),
        v.description(
          "The kubelet's --cert-dir, in which it stores the certificates that it rotates itself",
        ),
      ),
      deferToKubelet: v.pipe(
        v.optional(v.boolean(), true),
        v.description('Defer to the kubelet: only observe the certificates that it rotates itself'),
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
        v.description(
          'Address (host:port) of metrics, health and status; port 0 picks a free port',
        ),
      ),
      kubeletNames: v.pipe(
        v.optional(v.boolean(), false),
        v.description("Also export five metrics under the kubelet's own names"),
      ),
    }),
    {},
  ),
  inventory: v.optional(
    v.strictObject({
      enabled: v.pipe(
        v.optional(v.boolean(), false),
        v.description('Export the expiry of every certificate of this node as metrics'),
      ),
      interval: v.pipe(
        duration('10m', '1m', '24h'),
        v.description('Interval between two scans of the files and endpoints'),
      ),
      paths: v.pipe(
        v.optional(v.pipe(v.array(path), v.maxLength(100, 'expected at most 100')), []),
        v.description('Further files to list, as paths or patterns such as /srv/**/*.crt'),
      ),
    }),
    {},
  ),
  pki: v.optional(pkiSchema, {}),
  trust: v.optional(trustSchema, {}),
  log: v.optional(
    v.strictObject({
      level: v.pipe(
        v.optional(v.picklist(logLevels), 'info'),
        v.description('Lowest level to log'),
      ),
      format: v.pipe(
        v.optional(v.picklist(logFormats), 'json'),
        v.description('json: one object per line; text: for people'),
      ),
    }),
    {},
  ),
});

export type ConfigFile = v.InferOutput<typeof configFileSchema>;
export type BootstrapEntry = v.InferOutput<typeof bootstrapSchema>;
export type WindowEntry = v.InferOutput<typeof windowSchema>;
export type PkiEntry = v.InferOutput<typeof pkiSchema>;
export type TrustEntry = v.InferOutput<typeof trustSchema>;
export type CertificateEntry = v.InferOutput<typeof certificateSchema>;

function isBetween(value: number, low: number, high: number): boolean {
  return low < value && value < high;
}
