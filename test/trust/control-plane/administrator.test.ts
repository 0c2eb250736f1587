import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Secret } from '../../../src/core/secret.ts';
import { readAuthority } from '../../../src/kube/authorities.ts';
import type { ClusterAccess } from '../../../src/kube/cluster-access.ts';
import { administratorObstacles } from '../../../src/trust/control-plane/administrator.ts';
import { issueWithOpenssl } from '../../pki/renewal/openssl-authority.ts';
import type { TestAuthority } from '../node/authority.ts';
import { next, old } from './check-context.ts';

const directories = { kubernetes: '/etc/kubernetes', certificates: '/etc/kubernetes/pki' };
const authorities = { old: authorityOf(old), next: authorityOf(next) };

function authorityOf({ pem }: TestAuthority) {
  return readAuthority(Buffer.from(pem.replaceAll(/-----.*-----|\n/g, ''), 'base64'));
}

/** A kubeconfig with a client certificate of one CA, which trusts these CAs. */
function accessOf(
  path: string,
  issuer: TestAuthority | undefined,
  trusted: readonly TestAuthority[],
): ClusterAccess {
  const leaf = issuer && issueWithOpenssl({ subject: '/CN=admin', signer: issuer });
  const text = trusted.map(({ pem }) => pem).join('');
  return {
    path,
    cluster: {
      server: 'https://10.0.0.1:6443',
      insecureSkipTlsVerify: false,
      ...(text !== '' && { certificateAuthority: { pem: new Uint8Array(Buffer.from(text)) } }),
    },
    credential: {
      ...(leaf && {
        clientCertificate: {
          pem: new Uint8Array(leaf.certificate),
          key: new Secret(new Uint8Array(Buffer.from(leaf.key))),
        },
      }),
    },
    [Symbol.dispose]: () => undefined,
  };
}

describe('administratorObstacles()', () => {
  const admin = '/etc/kubernetes/admin.conf';
  const fine: readonly (readonly [string, ClusterAccess])[] = [
    ['a certificate from the new CA', accessOf(admin, next, [old, next])],
    ['a token', accessOf('/home/admin/token.conf', undefined, [next])],
    ['the CAs of the system', accessOf('/home/admin/token.conf', undefined, [])],
  ];
  for (const [name, access] of fine) {
    it(`accepts a kubeconfig with ${name}`, () => {
      assert.deepEqual(administratorObstacles(access, authorities, directories), []);
    });
  }

  const refused: readonly (readonly [string, ClusterAccess, RegExp, RegExp])[] = [
    [
      'a certificate from the old CA',
      accessOf('/home/admin/.kube/config', old, [old, next]),
      /^\/home\/admin\/.kube\/config has a client certificate from the old CA/,
      /^Use \/etc\/kubernetes\/admin.conf, .*: omit --kubeconfig$/,
    ],
    [
      'a certificate from the old CA as admin.conf',
      accessOf(admin, old, [old, next]),
      /^\/etc\/kubernetes\/admin.conf has a client certificate from the old CA/,
      /kubeadm certs renew admin.conf$/,
    ],
    [
      'the old CA alone',
      accessOf('/home/admin/.kube/config', next, [old]),
      /^\/home\/admin\/.kube\/config does not trust the new CA/,
      /omit --kubeconfig$/,
    ],
  ];
  for (const [name, access, message, remedy] of refused) {
    it(`refuses a kubeconfig with ${name}`, () => {
      const [found, ...others] = administratorObstacles(access, authorities, directories);
      assert.deepEqual(others, []);
      assert.match(found?.message ?? '', message);
      assert.match(found?.remedy ?? '', remedy);
    });
  }
});
