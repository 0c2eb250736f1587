import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  apiserverClientSigner,
  approverVerdict,
  certificateValidity,
  nodeRestrictionVerdict,
  ownServingVerdict,
  signerVerdict,
  subjectRestrictionVerdict,
} from './csr-policy.ts';
import type { ApproverVerdict, CsrFacts, CsrVerdict, RequestFacts } from './csr-policy.ts';
import { kubeletClientSigner, kubeletServingSigner } from '../../src/core/certificate-spec.ts';
import { day, hour, minute, second } from '../../src/core/instant.ts';

const node = 'system:node:worker-1';
const nodeGroups = ['system:nodes', 'system:authenticated'];
const bootstrapGroups = ['system:bootstrappers', 'system:authenticated'];

const clientCsr: CsrFacts = {
  signerName: kubeletClientSigner,
  usages: ['digital signature', 'client auth'],
  username: node,
  groups: nodeGroups,
  request: {
    subject: { commonName: node, organizations: ['system:nodes'] },
    dnsNames: [],
    ipAddresses: [],
    otherNames: [],
  },
};
const servingCsr: CsrFacts = {
  ...clientCsr,
  signerName: kubeletServingSigner,
  usages: ['digital signature', 'server auth'],
  request: { ...clientCsr.request, ipAddresses: ['10.0.0.1'] },
};
const apiserverCsr: CsrFacts = {
  ...clientCsr,
  signerName: apiserverClientSigner,
  username: 'jane',
  groups: ['system:authenticated'],
  request: { ...clientCsr.request, subject: { commonName: 'jane', organizations: ['dev'] } },
};

function asking(csr: CsrFacts, request: Partial<RequestFacts>): CsrFacts {
  return { ...csr, request: { ...csr.request, ...request } };
}

/** `ok`, with the permission if there is one, or the reason of a rejection. */
function outcome(verdict: CsrVerdict | ApproverVerdict): string {
  if (!verdict.ok) {
    assert.ok(verdict.message.length > 0);
    return verdict.reason;
  }
  return 'permission' in verdict ? verdict.permission : 'ok';
}

type Row = readonly [name: string, csr: CsrFacts, expected: string];

/** Wrong shapes of a kubelet client CSR, for approver and signer. */
const clientShapes: readonly Row[] = [
  [
    'no organization',
    asking(clientCsr, { subject: { commonName: node, organizations: [] } }),
    'organization-not-system-nodes',
  ],
  [
    'a second organization',
    asking(clientCsr, {
      subject: { commonName: node, organizations: ['system:nodes', 'system:masters'] },
    }),
    'organization-not-system-nodes',
  ],
  [
    'another organization',
    asking(clientCsr, { subject: { commonName: node, organizations: ['nodes'] } }),
    'organization-not-system-nodes',
  ],
  [
    'a common name that is no node',
    asking(clientCsr, { subject: { commonName: 'worker-1', organizations: ['system:nodes'] } }),
    'common-name-not-system-node',
  ],
  ['a DNS SAN', asking(clientCsr, { dnsNames: ['worker-1'] }), 'dns-san-not-allowed'],
  ['an IP SAN', asking(clientCsr, { ipAddresses: ['10.0.0.1'] }), 'ip-san-not-allowed'],
  ['an e-mail SAN', asking(clientCsr, { otherNames: ['email:a@b'] }), 'email-san-not-allowed'],
  ['a URI SAN', asking(clientCsr, { otherNames: ['url:spiffe://a'] }), 'uri-san-not-allowed'],
  ['no client auth', { ...clientCsr, usages: ['digital signature'] }, 'usages-mismatch'],
  ['no digital signature', { ...clientCsr, usages: ['client auth'] }, 'usages-mismatch'],
  [
    'a usage too many',
    { ...clientCsr, usages: [...clientCsr.usages, 'server auth'] },
    'usages-mismatch',
  ],
  [
    'only key encipherment beside client auth',
    { ...clientCsr, usages: ['key encipherment', 'client auth'] },
    'usages-mismatch',
  ],
];

function table(
  decide: (csr: CsrFacts) => CsrVerdict | ApproverVerdict,
  rows: readonly Row[],
): void {
  for (const [name, csr, expected] of rows) {
    it(`says ${expected} to ${name}`, () => {
      assert.equal(outcome(decide(csr)), expected);
    });
  }
}

describe('approverVerdict()', () => {
  const bootstrapper = { username: 'system:bootstrap:abcdef', groups: bootstrapGroups };
  table(approverVerdict, [
    ...clientShapes,
    ['a node requesting its own certificate', clientCsr, 'selfnodeclient'],
    [
      'an RSA key with key encipherment',
      { ...clientCsr, usages: ['client auth', 'key encipherment', 'digital signature'] },
      'selfnodeclient',
    ],
    ['a bootstrap token', { ...clientCsr, ...bootstrapper }, 'nodeclient'],
    [
      'an administrator',
      { ...clientCsr, username: 'admin', groups: ['system:masters'] },
      'nodeclient',
    ],
    [
      'a node requesting a certificate of another node',
      { ...clientCsr, username: 'system:node:worker-2' },
      'requestor-not-permitted',
    ],
    [
      'the right name without the group',
      { ...clientCsr, groups: ['system:authenticated'] },
      'requestor-not-permitted',
    ],
    ['a serving certificate', servingCsr, 'signer-not-handled'],
    ['an ordinary client certificate', apiserverCsr, 'signer-not-handled'],
  ]);
});

describe('signerVerdict() for kubernetes.io/kube-apiserver-client-kubelet', () => {
  table(signerVerdict, [
    ...clientShapes,
    ['the kubelet form', clientCsr, 'ok'],
    ['any requestor, which is for the approver to judge', { ...clientCsr, username: 'jane' }, 'ok'],
    ['a SAN of a kind that is dropped', asking(clientCsr, { otherNames: ['dn:CN=a'] }), 'ok'],
  ]);
});

describe('signerVerdict() for kubernetes.io/kubelet-serving', () => {
  table(signerVerdict, [
    ['an IP SAN', servingCsr, 'ok'],
    ['a DNS SAN alone', asking(servingCsr, { ipAddresses: [], dnsNames: ['worker-1'] }), 'ok'],
    [
      'an RSA key with key encipherment',
      { ...servingCsr, usages: [...servingCsr.usages, 'key encipherment'] },
      'ok',
    ],
    ['no SAN', asking(servingCsr, { ipAddresses: [] }), 'dns-or-ip-san-required'],
    [
      'an e-mail SAN beside the IP',
      asking(servingCsr, { otherNames: ['email:a@b'] }),
      'email-san-not-allowed',
    ],
    [
      'a URI SAN beside the IP',
      asking(servingCsr, { otherNames: ['url:spiffe://a'] }),
      'uri-san-not-allowed',
    ],
    [
      'another organization',
      asking(servingCsr, { subject: { commonName: node, organizations: ['nodes'] } }),
      'organization-not-system-nodes',
    ],
    [
      'a common name that is no node',
      asking(servingCsr, { subject: { commonName: 'worker-1', organizations: ['system:nodes'] } }),
      'common-name-not-system-node',
    ],
    [
      'client auth as well',
      { ...servingCsr, usages: [...servingCsr.usages, 'client auth'] },
      'usages-mismatch',
    ],
    ['client auth instead', { ...servingCsr, usages: clientCsr.usages }, 'usages-mismatch'],
  ]);
});

describe('signerVerdict() for other signers', () => {
  table(signerVerdict, [
    ['a client certificate', apiserverCsr, 'ok'],
    ['client auth alone', { ...apiserverCsr, usages: ['client auth'] }, 'ok'],
    [
      'server auth',
      { ...apiserverCsr, usages: ['client auth', 'server auth'] },
      'usage-not-allowed',
    ],
    ['no client auth', { ...apiserverCsr, usages: ['digital signature'] }, 'client-auth-missing'],
    ['a custom signer', { ...apiserverCsr, signerName: 'example.com/x' }, 'signer-not-handled'],
    [
      'the legacy signer',
      { ...apiserverCsr, signerName: 'kubernetes.io/legacy-unknown' },
      'signer-not-handled',
    ],
  ]);
});

describe('ownServingVerdict()', () => {
  table(ownServingVerdict, [
    ['the node itself', servingCsr, 'ok'],
    [
      'another node',
      { ...servingCsr, username: 'system:node:worker-10' },
      'requestor-not-the-node',
    ],
    [
      'a bootstrap token',
      { ...servingCsr, username: 'system:bootstrap:abcdef', groups: bootstrapGroups },
      'requestor-not-the-node',
    ],
    ['the name without the group', { ...servingCsr, groups: [] }, 'requestor-not-the-node'],
    ['no SAN', asking(servingCsr, { ipAddresses: [] }), 'dns-or-ip-san-required'],
    ['a client certificate', clientCsr, 'signer-not-handled'],
  ]);
});

describe('nodeRestrictionVerdict()', () => {
  const other = {
    subject: { commonName: 'system:node:worker-10', organizations: ['system:nodes'] },
  };
  table(nodeRestrictionVerdict, [
    ['its own client certificate', clientCsr, 'ok'],
    ['its own serving certificate', servingCsr, 'ok'],
    ["another node's client certificate", asking(clientCsr, other), 'common-name-not-own'],
    ["another node's serving certificate", asking(servingCsr, other), 'common-name-not-own'],
    [
      'a signer that is not the kubelet’s',
      asking({ ...clientCsr, signerName: 'example.com/x' }, other),
      'ok',
    ],
    [
      'a bootstrap token, which is no node',
      { ...asking(clientCsr, other), username: 'system:bootstrap:abcdef', groups: bootstrapGroups },
      'ok',
    ],
    [
      'a node without a name',
      {
        ...asking(clientCsr, { subject: { commonName: 'system:node:', organizations: [] } }),
        username: 'system:node:',
      },
      'common-name-not-own',
    ],
  ]);
});

describe('subjectRestrictionVerdict()', () => {
  const masters = { subject: { commonName: 'jane', organizations: ['dev', 'system:masters'] } };
  table(subjectRestrictionVerdict, [
    ['an ordinary group', apiserverCsr, 'ok'],
    ['system:masters', asking(apiserverCsr, masters), 'organization-not-allowed'],
    ['system:masters with a signer that checks it anyway', asking(clientCsr, masters), 'ok'],
  ]);
});

describe('certificateValidity()', () => {
  const now = Date.UTC(2026, 0, 1, 12, 0, 0);
  const caNotAfter = now + 3650 * day;
  const year = 8760 * 3600;
  const rows: readonly {
    readonly name: string;
    readonly signingSeconds: number;
    readonly expirationSeconds?: number;
    readonly caNotAfter?: number;
    /** From now to notAfter. */
    readonly lives: number;
  }[] = [
    {
      name: 'a year gives the backdating back',
      signingSeconds: year,
      lives: 365 * day - 5 * minute,
    },
    { name: 'eight hours are long', signingSeconds: 8 * 3600, lives: 8 * hour - 5 * minute },
    {
      name: 'below eight hours nothing is given back',
      signingSeconds: 28_799,
      lives: 28_799 * second,
    },
    { name: 'twenty seconds are possible', signingSeconds: 20, lives: 20 * second },
    {
      name: 'a shorter request is honored',
      signingSeconds: year,
      expirationSeconds: 3600,
      lives: hour,
    },
    {
      name: 'a longer request is cut',
      signingSeconds: 3600,
      expirationSeconds: 86_400,
      lives: hour,
    },
    {
      name: 'a request of ten minutes is cut too when the signer gives less',
      signingSeconds: 20,
      expirationSeconds: 600,
      lives: 20 * second,
    },
    {
      name: 'a request below ten minutes gets ten',
      signingSeconds: year,
      expirationSeconds: 60,
      lives: 10 * minute,
    },
    {
      name: 'the CA is the end',
      signingSeconds: year,
      caNotAfter: now + 90 * second,
      lives: 90 * second,
    },
    {
      name: 'ending with the CA is allowed',
      signingSeconds: 20,
      caNotAfter: now + 20 * second,
      lives: 20 * second,
    },
  ];
  for (const { name, lives, ...asked } of rows) {
    it(`returns the expected dates: ${name}`, () => {
      const validity = certificateValidity({ now, caNotAfter, ...asked });
      assert.deepEqual(validity, { ok: true, notBefore: now - 5 * minute, notAfter: now + lives });
    });
  }

  it('rounds down to whole seconds, so it never outlives the CA', () => {
    const end = now + 10_400;
    const validity = certificateValidity({ now: now + 999, signingSeconds: 3600, caNotAfter: end });
    assert.deepEqual(validity, {
      ok: true,
      notBefore: now - 5 * minute,
      notAfter: now + 10 * second,
    });
  });

  for (const [name, left] of [
    ['expired', -1],
    ['expires at this moment', 0],
  ] as const) {
    it(`refuses when the CA ${name}`, () => {
      const validity = certificateValidity({ now, signingSeconds: 60, caNotAfter: now + left });
      assert.ok(!validity.ok);
      assert.equal(validity.reason, 'ca-expired');
      assert.match(validity.message, /expired at 2026-01-01T1[12]:/);
    });
  }
});
