import { encodePem } from '../../src/core/pem.ts';
import { Secret } from '../../src/core/secret.ts';
import type { BootstrapContent } from '../../src/store/bootstrap-kubeconfig.ts';

export const oldToken = 'abcdef.0123456789abcdef';
export const newToken = '123456.0123456789012345';

/** PEM with bytes that are no certificate, which the store does not parse. */
export function authorityPem(first: number): Uint8Array<ArrayBuffer> {
  return encodePem(
    'CERTIFICATE',
    Uint8Array.from({ length: 300 }, (_, index) => first + index),
  );
}

export function contentWith(
  token: string,
  parts: Partial<Omit<BootstrapContent, 'credential'>> = {},
): BootstrapContent {
  return {
    cluster: { server: 'https://10.0.0.1:6443' },
    authorities: authorityPem(1),
    ...parts,
    credential: { kind: 'token', token: new Secret(new TextEncoder().encode(token)) },
  };
}
