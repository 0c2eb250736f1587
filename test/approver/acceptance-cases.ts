import { generateKeyPairSync } from 'node:crypto';
import { createCsr, keyParameters } from '../../src/core/csr.ts';
import type { KeyAlgorithm } from '../../src/core/certificate-spec.ts';
import { extensionIds, writeOid, writeSigned } from '../../src/core/certificate-parts.ts';
import { writeDer } from '../../src/core/der.ts';
import { minute, second } from '../../src/core/instant.ts';
import { webcrypto } from '../../src/core/x509.ts';
import { requestFor } from '../core/openssl.ts';
import type { Asked } from './cluster.ts';
import { afterGrace, cidrs, createdAt, n1Addresses, node, servingCsr } from './cluster.ts';
import type { RequestParts } from './requests.ts';
import {
  attribute,
  dns,
  ecdsaSha256,
  extension,
  ip,
  nodeSubject,
  oids,
  pemOf,
  requestDer,
  requestPem,
  rsaAlgorithm,
  sequence,
  subjectAltName,
} from './requests.ts';

/** What the approver has to decide, as `outcome code`. */
export type Case = readonly [name: string, expected: string, asked: Asked];

export interface CaseGroup {
  readonly title: string;
  readonly cases: readonly Case[];
}

const passed = 'approve ServingPolicyPassed';
const sanExtension = subjectAltName([dns('n1'), ip('10.100.0.2')]);
const extensionRequest = '1.2.840.113549.1.9.14';

function asked(request: RequestParts | Uint8Array, more: Omit<Asked, 'csr'> = {}): Asked {
  return { csr: servingCsr(request), ...more };
}

const groups: CaseGroup[] = [];

/** The cases that a test has to run, each with the policy, the objects and the time that it needs. */
export const acceptanceCases: readonly CaseGroup[] = groups;

function group(title: string, cases: readonly Case[]): void {
  groups.push({ title, cases });
}

/** A request as nodecertd and kubelets write it. */
async function kubeletRequest(key: KeyAlgorithm): Promise<Uint8Array> {
  const { generate } = keyParameters[key];
  const keys = (await webcrypto.subtle.generateKey(generate, true, [
    'sign',
    'verify',
  ])) as CryptoKeyPair;
  const template = {
    signerName: 'kubernetes.io/kubelet-serving',
    subject: { commonName: 'system:node:n1', organizations: ['system:nodes'] },
    dnsNames: ['n1'],
    ipAddresses: ['10.100.0.2'],
    usages: ['digital signature', 'server auth'],
    key,
  } as const;
  return pemOf(await createCsr(template, keys));
}

const algorithms: readonly KeyAlgorithm[] = ['ecdsa-p256', 'ecdsa-p384', 'rsa-2048', 'ed25519'];
const fromKubelet = await Promise.all(
  algorithms.map(async (key) => [key, await kubeletRequest(key)] as const),
);

group('ordinary CSRs', [
  ['1. P-256 without key encipherment', passed, {}],
  ...fromKubelet.map(([key, request]): Case => [
    `1. ${key} from nodecertd`,
    passed,
    asked(request),
  ]),
  [
    '1. a request from openssl',
    passed,
    asked(
      requestFor({
        subject: '/O=system:nodes/CN=system:node:n1',
        extensions: ['subjectAltName=DNS:n1,IP:10.100.0.2,IP:fd00::2'],
      }),
    ),
  ],
  [
    '2. with key encipherment',
    passed,
    {
      csr: servingCsr({}, { usages: ['digital signature', 'key encipherment', 'server auth'] }),
    },
  ],
  ['3. only an IP address', passed, asked({ altNames: [ip('fd00::2')] })],
  ['3. only a DNS name', passed, asked({ altNames: [dns('n1')] })],
  ['4. no Node', 'hold NodeNotFound', { situation: { nodes: [] }, now: afterGrace }],
  [
    '5. no addresses',
    'hold AddressesEmpty',
    { situation: { nodes: [node({ addresses: [] })] }, now: afterGrace },
  ],
  [
    '5. an uninitialized Node',
    'hold NodeUninitialized',
    { situation: { nodes: [node({ isUninitialized: true })] } },
  ],
  [
    '6. a second address of the Node',
    passed,
    {
      situation: {
        nodes: [
          node({ addresses: [...n1Addresses, { type: 'ExternalIP', address: '192.0.2.7' }] }),
        ],
      },
    },
  ],
  [
    '6. a newer CSR of the node',
    'hold Superseded',
    {
      situation: {
        newest: {
          name: 'csr-2',
          node: 'n1',
          createdAt: createdAt + second,
          resourceVersion: '300',
        },
      },
    },
  ],
  [
    '6. a newer CSR of the node, after 15 min',
    'deny Superseded',
    {
      situation: {
        newest: {
          name: 'csr-2',
          node: 'n1',
          createdAt: createdAt + second,
          resourceVersion: '300',
        },
      },
      now: createdAt + 15 * minute,
    },
  ],
  [
    '8. another signer',
    'ignore NotPending',
    { csr: servingCsr({}, { signerName: 'kubernetes.io/kube-apiserver-client-kubelet' }) },
  ],
  ...['Approved', 'Denied', 'Failed'].map((type): Case => [
    `8. the condition ${type}`,
    'ignore NotPending',
    { csr: servingCsr({}, { conditionTypes: ['Other', type] }) },
  ]),
  ['8. a certificate', 'ignore NotPending', { csr: servingCsr({}, { hasCertificate: true }) }],
  [
    '8. a CSR that is being deleted',
    'ignore NotPending',
    { csr: servingCsr({}, { isDeleting: true }) },
  ],
]);

const jane = servingCsr({}, { username: 'jane', groups: ['system:authenticated'] });

group('requestors and subjects', [
  ['9. jane', 'ignore RequestorNotNode', { csr: jane }],
  [
    '9. jane, with foreignRequestors: deny',
    'deny RequestorNotNode',
    { csr: jane, policy: { foreignRequestors: 'deny' } },
  ],
  [
    '10. a node outside system:nodes',
    'deny GroupsMissing',
    { csr: servingCsr({}, { groups: ['system:authenticated'] }) },
  ],
  [
    '11. a service account in a namespace named as the Node',
    'ignore RequestorNotNode',
    { csr: servingCsr({}, { username: 'system:serviceaccount:n1:x' }) },
  ],
  [
    '12. the CN of another node',
    'deny SubjectMismatch',
    asked({ subject: nodeSubject('system:node:n2') }),
  ],
  ...[
    'system:node:n1.',
    'system:node:n1 ',
    'system:node:n1\0',
    'system:node:N1',
    'SYSTEM:NODE:n1',
  ].map((name): Case => [
    `13. the CN ${JSON.stringify(name)}`,
    'deny SubjectMismatch',
    asked({ subject: nodeSubject(name) }),
  ]),
  [
    '13. a BMPString that reads as the user name',
    'deny SubjectMismatch',
    asked({
      subject: [
        [{ oid: oids.organization, value: 'system:nodes' }],
        [
          {
            oid: oids.commonName,
            tag: 0x1e,
            value: Buffer.from('system:node:n1', 'utf16le').swap16(),
          },
        ],
      ],
    }),
  ],
  [
    '14. two CNs, the last correct',
    'deny SubjectMismatch',
    asked({
      subject: [[{ oid: oids.commonName, value: 'admin' }], ...nodeSubject('system:node:n1')],
    }),
  ],
  [
    '14. O and CN in one relative name',
    passed,
    asked({ subject: [nodeSubject('system:node:n1').flat()] }),
  ],
  [
    '14. O and CN in one relative name, not sorted as DER requires',
    'deny RequestMalformed',
    asked({ subject: [nodeSubject('system:node:n1').flat().toReversed()] }),
  ],
  [
    '14. O and another CN in one relative name',
    'deny SubjectMismatch',
    asked({ subject: [nodeSubject('system:node:n2').flat()] }),
  ],
  ...(
    [
      ['15. O=system:masters too', { oid: oids.organization, value: 'system:masters' }],
      ['15. O=system:nodes twice', { oid: oids.organization, value: 'system:nodes' }],
      ['15. OU=x', { oid: oids.unit, value: 'x' }],
      ['15. serialNumber=1', { oid: '2.5.4.5', value: '1' }],
    ] as const
  ).map(([name, more]): Case => [
    name,
    'deny SubjectMismatch',
    asked({ subject: [...nodeSubject('system:node:n1'), [more]] }),
  ]),
  ['15. an empty subject', 'deny SubjectMismatch', asked({ subject: [] })],
]);

const cloudAddresses = [
  { type: 'Hostname', address: '10.100.0.2' },
  { type: 'InternalDNS', address: 'N1.Example.COM.' },
  { type: 'ExternalDNS', address: 'n1.public.example.com' },
  { type: 'InternalIP', address: 'not an address' },
];

group('names and addresses', [
  ...['n10', 'n1.evil.example', 'n'].map((name): Case => [
    `16. the name ${name}`,
    'deny SANNotOwned',
    { ...asked({ altNames: [dns(name)] }), now: afterGrace },
  ]),
  [
    '16. the name n10 within the grace period',
    'hold SANNotOwned',
    asked({ altNames: [dns('n10')] }),
  ],
  ...[
    '*.n1',
    '*',
    '*.svc',
    'n1\0',
    'n_1',
    'n1..example',
    '.n1',
    'n1 ',
    'ñ1',
    `${'a'.repeat(64)}.x`,
    `${'a.'.repeat(127)}aa`,
  ].map((name): Case => [
    `17. the name ${JSON.stringify(name.slice(0, 20))}`,
    'deny AltNamesNotAllowed',
    asked({ altNames: [dns(name)] }),
  ]),
  ...[
    'KUBERNETES.default.svc',
    'kubernetes.default.svc.cluster.local.',
    'kubernetes',
    'Kubernetes.Default',
    'localhost',
    'LOCALHOST.',
    'web.shop.svc',
    'apiserver-loopback-client',
  ].map((name): Case => [
    `17. the name ${name}, which the Node has too`,
    'deny ProtectedName',
    asked(
      { altNames: [dns(name)] },
      { situation: { nodes: [node({ addresses: [{ type: 'InternalDNS', address: name }] })] } },
    ),
  ]),
  [
    '17. a name in protectedNames',
    'deny ProtectedName',
    asked({ altNames: [dns('N1.')] }, { policy: { protectedNames: ['n1'] } }),
  ],
  [
    '17. the control-plane endpoint',
    'deny ProtectedName',
    { situation: { controlPlaneEndpoint: 'N1' }, now: afterGrace },
  ],
  [
    '17. the control-plane endpoint, which is a control-plane Node',
    passed,
    { situation: { controlPlaneEndpoint: 'n1', nodes: [node({ isControlPlane: true })] } },
  ],
  [
    '18. the address of an API server',
    'deny ProtectedAddress',
    { ...asApiServer(false), now: afterGrace },
  ],
  [
    '18. the address of an API server, within the grace period',
    'hold ProtectedAddress',
    asApiServer(false),
  ],
  ['18. the address of an API server on a control-plane Node', passed, asApiServer(true)],
  ['18. the kubernetes Service', 'deny ProtectedAddress', asked({ altNames: [ip('10.96.0.1')] })],
  [
    '18. the kubernetes Service without ServiceCIDRs',
    'deny ProtectedAddress',
    asked({ altNames: [ip('10.96.0.1')] }, { situation: { serviceCidrs: [] } }),
  ],
  [
    '18. an address in a ServiceCIDR',
    'deny ProtectedAddress',
    asked({ altNames: [ip('10.96.255.255')] }),
  ],
  [
    '18. an address in serviceCIDRs',
    'deny ProtectedAddress',
    asked({ altNames: [ip('10.100.0.2')] }, { policy: { serviceCidrs: cidrs(['10.100.0.2/32']) } }),
  ],
  [
    '18. an address in the Pod range of a Node',
    'deny ProtectedAddress',
    {
      situation: {
        nodes: [node(), node({ name: 'n2', addresses: [], podCidrs: ['10.100.0.0/24'] })],
      },
    },
  ],
  [
    '18. an address in the Pod range of a Node, which podCIDRs replaces',
    passed,
    {
      situation: { nodes: [node({ podCidrs: ['10.100.0.0/24'] })] },
      policy: { podCidrs: cidrs(['10.244.0.0/16']) },
    },
  ],
  [
    '18. an address in podCIDRs',
    'deny ProtectedAddress',
    { policy: { podCidrs: cidrs(['10.100.0.0/24']) } },
  ],
  ...[0, 3, 5, 15, 17].map((length): Case => [
    `19. an IP SAN of ${length} bytes`,
    'deny AltNamesNotAllowed',
    asked({ altNames: [ip(new Uint8Array(length).fill(10))] }),
  ]),
  ...['10.100.0.2', '010.100.0.2', '10.100.0.2.'].map((name): Case => [
    `19. the DNS SAN ${name}`,
    'deny AltNamesNotAllowed',
    asked({ altNames: [dns(name)] }),
  ]),
  ...[
    '0.0.0.0',
    '::',
    '127.0.0.1',
    '::1',
    '224.0.0.1',
    'ff02::1',
    '255.255.255.255',
    '169.254.1.1',
    'fe80::1',
  ].map((address): Case => [
    `19. the address ${address}`,
    'deny AltNamesNotAllowed',
    asked({ altNames: [ip(address)] }),
  ]),
  [
    '19. a link-local address with allowLinkLocal',
    passed,
    asked(
      { altNames: [ip('fe80::1')] },
      {
        policy: { allowLinkLocal: true },
        situation: { nodes: [node({ addresses: [{ type: 'InternalIP', address: 'fe80::1' }] })] },
      },
    ),
  ],
  [
    '19. an IPv4-mapped address of the Node',
    passed,
    asked({
      altNames: [
        ip(Uint8Array.from([...Array.from({ length: 10 }, () => 0), 255, 255, 10, 100, 0, 2])),
      ],
    }),
  ],
  [
    '19. an IPv4-mapped loopback address',
    'deny AltNamesNotAllowed',
    asked({
      altNames: [
        ip(Uint8Array.from([...Array.from({ length: 10 }, () => 0), 255, 255, 127, 0, 0, 1])),
      ],
    }),
  ],
  ...(
    [
      ['an e-mail address', writeDer(0x81, Buffer.from('a@n1'))],
      ['a URI', writeDer(0x86, Buffer.from('spiffe://n1/x'))],
      [
        'an otherName',
        writeDer(
          0xa0,
          writeOid('1.3.6.1.4.1.311.20.2.3'),
          writeDer(0xa0, writeDer(0x0c, Buffer.from('n1'))),
        ),
      ],
      ['a directoryName', writeDer(0xa4, sequence())],
      ['a registeredID', writeDer(0x88, Uint8Array.of(0x2a, 0x03))],
      ['a constructed DNS name', writeDer(0xa2, writeDer(0x16, Buffer.from('n1')))],
      ['a plain string', writeDer(0x16, Buffer.from('n1'))],
    ] as const
  ).map(([name, altName]): Case => [
    `20. ${name} beside good SANs`,
    'deny AltNamesNotAllowed',
    asked({ altNames: [dns('n1'), ip('10.100.0.2'), altName] }),
  ]),
  ['21. the same SAN twice', passed, asked({ altNames: [dns('n1'), ip('10.100.0.2'), dns('n1')] })],
  ['21. 64 owned SANs', passed, manyAltNames(64)],
  ['21. 65 SANs', 'deny AltNamesNotAllowed', manyAltNames(65)],
  ['21. 1,000 SANs', 'deny AltNamesNotAllowed', manyAltNames(1_000)],
  ['22. an empty subjectAltName', 'deny AltNamesNotAllowed', asked({ altNames: [] })],
  ['22. no extension', 'deny UnexpectedExtension', asked({ extensions: [] })],
  ['22. no attribute', 'deny UnexpectedExtension', asked({ attributes: [] })],
  ['22. an empty DNS name', 'deny AltNamesNotAllowed', asked({ altNames: [dns('n1'), dns('')] })],
  ['22. only a dot', 'deny AltNamesNotAllowed', asked({ altNames: [dns('.')] })],
  ...(
    [
      ['an IP address as Hostname', ip('10.100.0.2')],
      ['a DNS name in another case', dns('n1.EXAMPLE.com')],
      ['a DNS name with a trailing dot', dns('n1.example.com.')],
      ['an ExternalDNS name', dns('n1.public.example.com')],
    ] as const
  ).map(([name, altName]): Case => [
    `23. ${name}`,
    passed,
    asked({ altNames: [altName] }, { situation: { nodes: [node({ addresses: cloudAddresses })] } }),
  ]),
  [
    '23. match: exact, and an address of the Node is missing',
    'deny SANNotOwned',
    { policy: { match: 'exact' }, now: afterGrace },
  ],
  [
    '23. match: exact, and every address',
    passed,
    asked(
      { altNames: [dns('n1'), ip('10.100.0.2'), ip('fd00::2')] },
      { policy: { match: 'exact' } },
    ),
  ],
  [
    '24. a CSR from before the Node',
    'deny NodeRecreated',
    {
      situation: { nodes: [node({ createdAt: createdAt + 16 * minute })] },
      now: createdAt + 17 * minute,
    },
  ],
  [
    '24. a CSR from a little before its Node',
    passed,
    {
      situation: { nodes: [node({ createdAt: createdAt + 14 * minute })] },
      now: createdAt + 14 * minute,
    },
  ],
  [
    '24. a CSR of the earlier Node of the same name',
    'deny NodeRecreated',
    { situation: { earlierSeenAt: createdAt + 5 * second } },
  ],
  ['24. a CSR of the new Node', passed, { situation: { earlierSeenAt: createdAt - 5 * second } }],
  [
    '24. a Node that is being deleted',
    'hold NodeTerminating',
    { situation: { nodes: [node({ isTerminating: true })] } },
  ],
  [
    '25. a name outside allowedDomains',
    'deny NameNotAllowed',
    asked({ altNames: [dns('n1.example.com')] }, inDomain(['ample.com', 'other.example'])),
  ],
  [
    '25. a name in allowedDomains',
    passed,
    asked({ altNames: [dns('N1.Example.com.')] }, inDomain(['example.com'])),
  ],
  [
    '25. a single-label name that is the name of the Node',
    passed,
    { policy: { allowedDomains: ['example.com'] } },
  ],
  [
    '25. another single-label name',
    'deny NameNotAllowed',
    asked(
      { altNames: [dns('gateway')] },
      {
        policy: { allowedDomains: ['example.com'] },
        situation: { nodes: [node({ addresses: [{ type: 'Hostname', address: 'gateway' }] })] },
      },
    ),
  ],
  [
    '25. an address outside allowedCIDRs',
    'deny AddressNotAllowed',
    { policy: { allowedCidrs: cidrs(['10.101.0.0/16']) } },
  ],
  [
    '25. an address inside deniedCIDRs',
    'deny AddressNotAllowed',
    { policy: { allowedCidrs: cidrs(['10.0.0.0/8']), deniedCidrs: cidrs(['10.100.0.0/24']) } },
  ],
  [
    '25. an address inside allowedCIDRs, beside deniedCIDRs',
    passed,
    { policy: { allowedCidrs: cidrs(['10.0.0.0/8']), deniedCidrs: cidrs(['10.100.1.0/24']) } },
  ],
  ['25. a /32', passed, { policy: { allowedCidrs: cidrs(['10.100.0.2/32']) } }],
  [
    '25. another /32',
    'deny AddressNotAllowed',
    { policy: { allowedCidrs: cidrs(['10.100.0.3/32']) } },
  ],
  [
    '25. a /128',
    passed,
    asked({ altNames: [ip('fd00::2')] }, { policy: { allowedCidrs: cidrs(['fd00::2/128']) } }),
  ],
  [
    '25. an IPv6 address against an IPv4 range',
    'deny AddressNotAllowed',
    asked({ altNames: [ip('fd00::2')] }, { policy: { allowedCidrs: cidrs(['0.0.0.0/0']) } }),
  ],
  [
    '25. an IPv4 address against an IPv6 range',
    'deny AddressNotAllowed',
    { policy: { allowedCidrs: cidrs(['::/0']) } },
  ],
]);

function asApiServer(isControlPlane: boolean): Asked {
  const address = '10.100.0.1';
  const nodes = [node({ isControlPlane, addresses: [{ type: 'InternalIP', address }] })];
  return asked({ altNames: [ip(address)] }, { situation: { nodes } });
}

export function manyAltNames(count: number): Asked {
  const names = Array.from({ length: count }, (_, index) => `n1-${index}.example.com`);
  const addresses = names.map((address) => ({ type: 'ExternalDNS', address }));
  return asked(
    { altNames: names.map((name) => dns(name)) },
    { situation: { nodes: [node({ addresses })] } },
  );
}

function inDomain(allowedDomains: readonly string[]): Omit<Asked, 'csr'> {
  const addresses = [{ type: 'InternalDNS', address: 'n1.example.com' }];
  return { policy: { allowedDomains }, situation: { nodes: [node({ addresses })] } };
}

const good = Buffer.from(requestPem()).toString();
const other = Buffer.from(requestPem({ altNames: [dns('n2')] })).toString();
const flipped = good.replace('-----\nM', '-----\n!');

group('the encoding of the request', [
  ...(
    [
      ['two blocks', good + other],
      ['two blocks in the other order', other + good],
      ['text before the block', `hello\n${good}`],
      ['text after the block', `${good}hello\n`],
      ['headers', good.replace('-----\n', '-----\nProc-Type: 4\n\n')],
      ['CRLF', good.replaceAll('\n', '\r\n')],
      [
        'NEW CERTIFICATE REQUEST',
        good.replaceAll('CERTIFICATE REQUEST', 'NEW CERTIFICATE REQUEST'),
      ],
      ['CERTIFICATE', good.replaceAll('CERTIFICATE REQUEST', 'CERTIFICATE')],
      ['bad base64 before a second block', flipped + good],
      ['bad base64', flipped],
      ['a blank line in the block', good.replace('-----\n', '-----\n\n')],
      ['spaces in the block', good.replace('-----\nM', '-----\nM ')],
      ['another END line', good.replace('END CERTIFICATE REQUEST', 'END CERTIFICATE')],
      ['blanks before BEGIN on its line', ` ${good}`],
      ['a block on one line', good.replaceAll('\n', '')],
      [
        'an empty block',
        '-----BEGIN CERTIFICATE REQUEST-----\n-----END CERTIFICATE REQUEST-----\n',
      ],
      ['nothing', ''],
      ['two carriage returns after END, where Go finds no block', `${good.trimEnd()}\r\r\n`],
      ['a blank between carriage return and line break', `${good.trimEnd()}\r \n`],
      ['a carriage return after END and nothing more', `${good.trimEnd()}\r`],
      ['a byte order mark', `\u{feff}${good}`],
    ] as const
  ).map(([name, text]): Case => [`26. ${name}`, 'deny RequestMalformed', asked(Buffer.from(text))]),
  ['26. white space around the block', passed, asked(Buffer.from(`\n \t\r\n${good}\n \r\n`))],
  ['26. blanks and CRLF after END', passed, asked(Buffer.from(`${good.trimEnd()} \t\r\n`))],
  ['26. no line break at the end', passed, asked(Buffer.from(good.trimEnd()))],
  [
    '26. base64 with padding bits that are not zero',
    'deny RequestMalformed',
    asked(withPaddingBits()),
  ],
  [
    '26. base64 without padding',
    'deny RequestMalformed',
    asked(Buffer.from(paddedRequest().replaceAll('=', ''))),
  ],
  [
    '26. data after the request',
    'deny RequestMalformed',
    asked(pemOf(Buffer.concat([requestDer(), Buffer.of(5, 0)]))),
  ],
  ['26. a truncated request', 'deny RequestMalformed', asked(pemOf(requestDer().subarray(0, -3)))],
  ['26. version 1', 'deny RequestMalformed', asked({ version: 1 })],
  [
    '26. a long form for a short length',
    'deny RequestMalformed',
    asked({ change: withLongLength }),
  ],
  [
    '26. two extensionRequests',
    'deny RequestMalformed',
    asked({
      attributes: [
        attribute(extensionRequest, sequence(sanExtension)),
        attribute(extensionRequest, sequence(sanExtension)),
      ],
    }),
  ],
  [
    '26. an extensionRequest with two values',
    'deny RequestMalformed',
    asked({
      attributes: [attribute(extensionRequest, sequence(sanExtension), sequence(sanExtension))],
    }),
  ],
  [
    '26. a challenge password',
    'deny RequestMalformed',
    asked({ attributes: [attribute('1.2.840.113549.1.9.7', writeDer(0x13, Buffer.from('x')))] }),
  ],
  [
    '26. a critical that is false',
    'deny RequestMalformed',
    asked({ extensions: [criticalSan(0)] }),
  ],
  [
    '26. a critical that is neither true nor false',
    'deny RequestMalformed',
    asked({ extensions: [criticalSan(1)] }),
  ],
  ['26. a critical subjectAltName', passed, asked({ extensions: [criticalSan(0xff)] })],
  [
    '26. data after the SANs',
    'deny RequestMalformed',
    asked({
      extensions: [
        extension(
          extensionIds.subjectAltName,
          Buffer.concat([sequence(dns('n1')), Buffer.of(5, 0)]),
        ),
      ],
    }),
  ],
  ...(
    [
      [
        'CA:TRUE',
        extension(extensionIds.basicConstraints, sequence(writeDer(0x01, Buffer.of(0xff)))),
      ],
      ['keyCertSign', extension(extensionIds.keyUsage, writeDer(0x03, Buffer.of(2, 4)))],
      [
        'EKU codeSigning',
        extension(extensionIds.extendedKeyUsage, sequence(writeOid('1.3.6.1.5.5.7.3.3'))),
      ],
      [
        'an unknown critical extension',
        extension('1.2.3.4', Buffer.of(5, 0), writeDer(0x01, Buffer.of(0xff))),
      ],
      ['a second subjectAltName', sanExtension],
    ] as const
  ).flatMap(([name, more]): Case[] => [
    [
      `28. ${name} after the SANs`,
      'deny UnexpectedExtension',
      asked({ extensions: [sanExtension, more] }),
    ],
    [
      `28. ${name} before the SANs`,
      'deny UnexpectedExtension',
      asked({ extensions: [more, sanExtension] }),
    ],
  ]),
]);

/** The PEM text of a request whose last character of base64 has unused bits. */
function paddedRequest(): string {
  for (let length = 1; ; length += 1) {
    const pem = Buffer.from(requestPem({ altNames: [dns('n'.repeat(length))] })).toString();
    if (/[^=]=\n/.test(pem)) return pem;
  }
}

/** The last character encodes four bits and two zeros, so its successor has other unused bits. */
function withPaddingBits(): Uint8Array {
  const pem = paddedRequest();
  const at = pem.indexOf('=') - 1;
  const next = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';
  const changed = next[next.indexOf(pem[at] ?? '') + 1] ?? '';
  return Buffer.from(pem.slice(0, at) + changed + pem.slice(at + 1));
}

function withLongLength(info: Uint8Array): Uint8Array {
  // The first field is the version: 02 01 00.
  const at = info.indexOf(0x02);
  const content = Buffer.concat([Buffer.of(0x02, 0x81, 0x01, 0x00), info.subarray(at + 3)]);
  return sequence(content);
}

function criticalSan(value: number): Uint8Array {
  return extension(
    extensionIds.subjectAltName,
    sequence(dns('n1')),
    writeDer(0x01, Buffer.of(value)),
  );
}

function rsa(modulusLength: number, publicExponent = 65_537) {
  return generateKeyPairSync('rsa', { modulusLength, publicExponent });
}

const sha256Rsa = rsaAlgorithm(11, 'sha256');
const dsa = generateKeyPairSync('dsa', { modulusLength: 1024, divisorLength: 160 });
const p224 = generateKeyPairSync('ec', { namedCurve: 'P-224' });
const secp256k1 = generateKeyPairSync('ec', { namedCurve: 'secp256k1' });
const rsa2048 = rsa(2048);

group('keys and signatures', [
  ...([512, 1024, 2047] as const).map((bits): Case => [
    `29. RSA ${bits}`,
    'deny WeakKey',
    asked({ keys: rsa(bits), algorithm: sha256Rsa }),
  ]),
  ['29. RSA with e=3', 'deny WeakKey', asked({ keys: rsa(2048, 3), algorithm: sha256Rsa })],
  ['29. P-224', 'deny WeakKey', asked({ keys: p224 })],
  ['29. secp256k1', 'deny WeakKey', asked({ keys: secp256k1 })],
  [
    '29. DSA',
    'deny SignatureInvalid',
    asked({
      keys: dsa,
      algorithm: { encoded: sequence(writeOid('2.16.840.1.101.3.4.3.2')), hash: 'sha256' },
    }),
  ],
  [
    '29. RSA with SHA-1',
    'deny SignatureInvalid',
    asked({ keys: rsa2048, algorithm: rsaAlgorithm(5, 'sha1') }),
  ],
  [
    '29. RSA with MD5',
    'deny SignatureInvalid',
    asked({ keys: rsa2048, algorithm: rsaAlgorithm(4, 'md5') }),
  ],
  [
    '29. ECDSA with SHA-1',
    'deny SignatureInvalid',
    asked({ algorithm: { encoded: sequence(writeOid('1.2.840.10045.4.1')), hash: 'sha1' } }),
  ],
  [
    '29. a hash that is not the named one',
    'deny SignatureInvalid',
    asked({ algorithm: { ...ecdsaSha256, hash: 'sha384' } }),
  ],
  [
    '29. the public key of another pair',
    'deny SignatureInvalid',
    asked({ publicKey: rsa2048.publicKey.export({ format: 'der', type: 'spki' }) }),
  ],
  [
    '29. the public key of another P-256 pair',
    'deny SignatureInvalid',
    asked({
      publicKey: generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey.export({
        format: 'der',
        type: 'spki',
      }),
    }),
  ],
  [
    '29. an Ed25519 key for which everybody can sign',
    'deny SignatureInvalid',
    asked(withKeyOfSmallOrder()),
  ],
  [
    '29. a changed signature',
    'deny SignatureInvalid',
    asked(pemOf(withLastByteChanged(requestDer()))),
  ],
  [
    '29. RSA 2048 with SHA-512',
    passed,
    asked({ keys: rsa2048, algorithm: rsaAlgorithm(13, 'sha512') }),
  ],
  ['29. RSA with e=0x10001 in 3072 bits', passed, asked({ keys: rsa(3072), algorithm: sha256Rsa })],
  [
    '2.6. a key of an earlier CSR of another node',
    'deny KeyReused',
    {
      situation: {
        keyUses: [
          { name: 'csr-0', node: 'n2', createdAt: createdAt - second, resourceVersion: '1' },
        ],
      },
    },
  ],
  [
    '2.6. a key of a later CSR of another node, and of an earlier one of this node',
    passed,
    {
      situation: {
        keyUses: [
          { name: 'csr-9', node: 'n2', createdAt: createdAt + second, resourceVersion: '900' },
          { name: 'csr-0', node: 'n1', createdAt: createdAt - second, resourceVersion: '1' },
        ],
      },
    },
  ],
  [
    '2.6. a key of an earlier CSR of this node, which another node has copied',
    passed,
    {
      situation: {
        keyUses: [
          { name: 'csr-copy', node: 'n2', createdAt: createdAt - second, resourceVersion: '2' },
          { name: 'csr-0', node: 'n1', createdAt: createdAt - 2 * second, resourceVersion: '1' },
        ],
      },
    },
  ],
]);

/** The neutral point as key and in the signature: Go accepts it for any contents. */
function withKeyOfSmallOrder(): Uint8Array {
  const algorithm = sequence(writeOid('1.3.101.112'));
  const point = Uint8Array.of(1, ...Array.from({ length: 31 }, () => 0));
  const publicKey = sequence(algorithm, writeDer(0x03, Uint8Array.of(0), point));
  let info = new Uint8Array();
  requestDer({
    publicKey,
    change: (signed) => {
      info = signed;
      return signed;
    },
  });
  const signature = Buffer.concat([point, Buffer.alloc(32)]);
  return pemOf(writeSigned(info, { algorithm, signature }));
}

function withLastByteChanged(der: Uint8Array): Uint8Array {
  const changed = Uint8Array.from(der);
  changed[changed.length - 1] = (changed.at(-1) ?? 0) ^ 1;
  return changed;
}

function withUsages(...usages: readonly string[]): Asked {
  return { csr: servingCsr({}, { usages }) };
}

function withExpiration(expirationSeconds: number): Asked {
  return { csr: servingCsr({}, { expirationSeconds }) };
}

group('fields of the CSR object', [
  [
    '30. client auth too',
    'deny UsagesNotAllowed',
    withUsages('digital signature', 'server auth', 'client auth'),
  ],
  [
    '30. code signing too',
    'deny UsagesNotAllowed',
    withUsages('digital signature', 'server auth', 'code signing'),
  ],
  [
    '30. without server auth',
    'deny UsagesNotAllowed',
    withUsages('digital signature', 'key encipherment'),
  ],
  ['30. without digital signature', 'deny UsagesNotAllowed', withUsages('server auth')],
  ['30. no usages', 'deny UsagesNotAllowed', withUsages()],
  ['31. the longest number of seconds', 'deny ExpirationTooLong', withExpiration(2_147_483_647)],
  [
    '31. a second more than maxExpirationSeconds',
    'deny ExpirationTooLong',
    withExpiration(31_708_801),
  ],
  ['31. maxExpirationSeconds', passed, withExpiration(31_708_800)],
  ['32. a request of 1 MB', 'deny RequestMalformed', asked(Buffer.alloc(1_000_000, good))],
  ['32. a request of 64 KiB', passed, asked(Buffer.from(good.padEnd(65_536, '\n')))],
  [
    '32. a request of 64 KiB and a byte',
    'deny RequestMalformed',
    asked(Buffer.from(good.padEnd(65_537, '\n'))),
  ],
]);

const n2 = node({ name: 'n2', createdAt: createdAt - 2 * minute });

group('other nodes and the mode', [
  [
    '5.7. an older Node has the address too',
    'hold AddressConflict',
    { situation: { nodes: [node(), n2] } },
  ],
  [
    '5.7. a younger Node has the address too',
    passed,
    { situation: { nodes: [node(), node({ name: 'n2', createdAt })] } },
  ],
  [
    '5.7. a Node of the same age has the address too',
    'hold AddressConflict',
    { situation: { nodes: [node(), node({ name: 'n2' })] } },
  ],
  [
    '5.7. an older Node that is being deleted',
    passed,
    { situation: { nodes: [node(), { ...n2, isTerminating: true }] } },
  ],
  [
    '6. approve-only: a denial becomes a hold',
    'hold GroupsMissing',
    { csr: servingCsr({}, { groups: [] }), policy: { mode: 'approve-only' } },
  ],
  ['6. approve-only: an approval stays', passed, { policy: { mode: 'approve-only' } }],
  [
    '6. observe decides as enforce does',
    'deny GroupsMissing',
    { csr: servingCsr({}, { groups: [] }), policy: { mode: 'observe' } },
  ],
]);
