import assert from 'node:assert/strict';
import { createHmac, generateKeyPairSync, sign } from 'node:crypto';
import { describe, it } from 'node:test';
import { Secret } from '../../src/core/secret.ts';
import { isSignedBy, signatureOf } from '../../src/discovery/signature.ts';
import { tokenOf } from './support/test-cluster.ts';

const kubeconfig = 'apiVersion: v1\nclusters: []\nkind: Config\n';
const token = tokenOf();
const secret = '0123456789abcdef';

const encode = (text: string): string => Buffer.from(text).toString('base64url');

/** A JWS made by hand, with any header and any signature. */
function jws(header: string, mac: (input: string) => Buffer): string {
  const signature = mac(`${encode(header)}.${encode(kubeconfig)}`).toString('base64url');
  return `${encode(header)}..${signature}`;
}

const hmac =
  (algorithm: string, key: string) =>
  (input: string): Buffer =>
    createHmac(algorithm, key).update(input).digest();

const header = '{"alg":"HS256","kid":"abcdef"}';

describe('signatureOf()', () => {
  // Source: k8s.io/cluster-bootstrap v0.37.2, token/jws/jws_test.go.
  const vectors = [
    {
      content: 'Hello from the other side. I must have called a thousand times.',
      signature: 'VShe2taLd-YTrmWuRkcL_8QTNDHYxQIEBsAYYiIj1_8',
    },
    { content: '', signature: '7Ui1ALizW4jXphVUB7xUqC9vLYLL9RZeOFfVLoB7Tgk' },
  ];
  for (const { content, signature } of vectors) {
    it(`equals the vector of kubeadm for ${content.length} bytes`, () => {
      using text = new Secret(new Uint8Array(Buffer.from('joshua.my voice is my passcode')));
      const joshua = { id: 'joshua', text, [Symbol.dispose]: () => undefined };
      assert.equal(
        signatureOf(content, joshua),
        `eyJhbGciOiJIUzI1NiIsImtpZCI6Impvc2h1YSJ9..${signature}`,
      );
    });
  }
});

describe('isSignedBy()', () => {
  const right = jws(header, hmac('sha256', secret));

  it('accepts the signature of a cluster that knows the secret', () => {
    assert.ok(isSignedBy(token, { kubeconfig, signature: right }));
  });

  it('refuses the signature after any bit of the kubeconfig was flipped', () => {
    const bytes = Buffer.from(kubeconfig);
    for (let bit = 0; bit < bytes.length * 8; bit += 7) {
      const flipped = Buffer.from(bytes);
      flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      assert.ok(
        !isSignedBy(token, { kubeconfig: flipped.toString('latin1'), signature: right }),
        `bit ${bit}`,
      );
    }
  });

  it('refuses a signature with any character changed', () => {
    for (let at = 0; at < right.length; at += 1) {
      const other = right[at] === 'A' ? 'B' : 'A';
      const signature = right.slice(0, at) + other + right.slice(at + 1);
      assert.ok(!isSignedBy(token, { kubeconfig, signature }), signature);
    }
  });

  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const forged: Readonly<Record<string, string>> = {
    'the empty text': '',
    'another secret': jws(header, hmac('sha256', 'fedcba9876543210')),
    'the algorithm none': `${encode('{"alg":"none","kid":"abcdef"}')}..`,
    'the algorithm none with a signature': jws(
      '{"alg":"none","kid":"abcdef"}',
      hmac('sha256', secret),
    ),
    RS256: jws('{"alg":"RS256","kid":"abcdef"}', (input) =>
      sign('sha256', Buffer.from(input), rsa.privateKey),
    ),
    HS512: jws('{"alg":"HS512","kid":"abcdef"}', hmac('sha512', secret)),
    'the kid of another token': jws('{"alg":"HS256","kid":"ghijkl"}', hmac('sha256', secret)),
    'a header without kid': jws('{"alg":"HS256"}', hmac('sha256', secret)),
    'a header with another key': jws(
      '{"alg":"HS256","b64":false,"kid":"abcdef"}',
      hmac('sha256', secret),
    ),
    'padded base64': `${right}=`,
    'standard base64':
      right.replaceAll('-', '+').replaceAll('_', '/') + (/[-_]/.test(right) ? '' : '='),
    'an attached payload': right.replace('..', `.${encode(kubeconfig)}.`),
    'a line break at the end': `${right}\n`,
  };
  for (const [what, signature] of Object.entries(forged)) {
    it(`refuses ${what}`, () => {
      assert.ok(!isSignedBy(token, { kubeconfig, signature }));
    });
  }
});
