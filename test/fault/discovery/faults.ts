import { setTimeout as delay } from 'node:timers/promises';
import { second } from '../../../src/core/instant.ts';
import type { KeyPair } from '../../support/cluster-pki.ts';
import type { Exchange } from '../../support/fault-proxy.ts';
import { relay } from '../../support/fault-proxy.ts';
import { haste } from '../../support/new-machine.ts';
import { answerBytes, answerStatus, breakOff, flood, trickle } from '../api/answers.ts';
import type { DiscoveryFault, Place } from './fault.ts';

const readings: readonly Place[] = ['first', 'second'];
const requests: readonly Place[] = [...readings, 'review', 'node'];

/** The certificates of the server: of the pinned CA, of a CA that is only listed, and of neither. */
export interface ServingPairs {
  readonly pinned: KeyPair;
  readonly listed: KeyPair;
  readonly stranger: KeyPair;
}

/** The first attempt fails, and `discover` tries again. */
const transientFaults: readonly DiscoveryFault[] = [
  {
    name: 'connection refused',
    code: 'API_UNREACHABLE',
    repeated: 'always',
    begin: (proxy) => proxy.leave(),
    end: (proxy) => proxy.listen(),
  },
  {
    name: 'black hole before TLS',
    code: 'API_TIMEOUT',
    repeated: 'always',
    begin: (proxy) => void (proxy.mute = true),
    end: (proxy) => {
      proxy.mute = false;
      proxy.cut();
    },
  },
  {
    name: 'reset instead of a response',
    places: requests,
    code: 'API_UNREACHABLE',
    repeated: 'always',
    serve: ({ response }) => void response.socket?.resetAndDestroy(),
  },
  {
    name: 'reset mid-body',
    places: requests,
    code: 'API_UNREACHABLE',
    repeated: 'always',
    serve: breakOff,
  },
  {
    name: 'black hole: no response',
    places: requests,
    code: 'API_TIMEOUT',
    repeated: 'always',
    serve: async ({ closed }) => closed,
  },
  {
    name: 'slow loris',
    places: requests,
    code: 'API_TIMEOUT',
    repeated: 'always',
    serve: trickle,
  },
  ...[500, 503, 504].map((code) => ({
    ...status(code, 'Fault', requests),
    code: 'API_SERVER_ERROR' as const,
    repeated: 'always' as const,
  })),
  {
    ...status(429, 'TooManyRequests', requests),
    code: 'API_THROTTLED',
    repeated: 'always',
  },
  {
    name: '429 with Retry-After',
    places: requests,
    code: 'API_THROTTLED',
    repeated: 'always',
    asked: 20,
    serve: (exchange) => {
      const headers = { 'retry-after': '20' };
      answerStatus(exchange, { code: 429, reason: 'TooManyRequests', headers });
    },
  },
  { ...status(401, 'Unauthorized', readings), code: 'API_UNAUTHORIZED', repeated: 'once' },
  { ...status(403, 'Forbidden', readings), code: 'API_FORBIDDEN', repeated: 'once' },
];

/** The answer shows that no other attempt can succeed. */
const finalFaults: readonly DiscoveryFault[] = [
  { ...status(404, 'NotFound', readings), code: 'API_NOT_FOUND' },
  { ...status(410, 'Expired', readings), code: 'API_BAD_RESPONSE' },
  {
    name: '404 of another kind of server',
    places: readings,
    code: 'API_BAD_RESPONSE',
    serve: ({ response }) => void response.writeHead(404).end('<title>Not here</title>'),
  },
  {
    name: 'redirect',
    places: readings,
    code: 'API_BAD_RESPONSE',
    serve: ({ response }) =>
      void response.writeHead(302, { location: 'https://login.example.com/' }).end(),
  },
  {
    name: 'web page',
    places: readings,
    code: 'API_BAD_RESPONSE',
    serve: async (exchange) => answerBytes(exchange, () => Buffer.from('<html>It works!</html>')),
  },
  {
    name: 'empty response',
    places: readings,
    code: 'API_BAD_RESPONSE',
    serve: async (exchange) => answerBytes(exchange, () => Buffer.alloc(0)),
  },
  {
    name: 'truncated JSON',
    places: requests,
    code: 'API_BAD_RESPONSE',
    serve: async (exchange) => answerBytes(exchange, (body) => body.subarray(0, body.length / 2)),
  },
  {
    name: 'body of 200 MiB',
    places: requests,
    code: 'API_BAD_RESPONSE',
    serve: async (exchange) => flood(exchange, 200 * 2 ** 20),
  },
  { ...status(401, 'Unauthorized', ['review']), code: 'TOKEN_REJECTED' },
  {
    name: 'another user in the answer to the token',
    places: ['review'],
    code: 'TOKEN_REJECTED',
    serve: async (exchange) =>
      answerBytes(exchange, (body) =>
        Buffer.from(body.toString().replaceAll('system:bootstrap:', 'system:node:')),
      ),
  },
];

/** The server lacks the secret of the token or the key of a pinned CA. */
function forgeries({ pinned, listed, stranger }: ServingPairs): DiscoveryFault[] {
  const served = (name: string, pair: KeyPair): DiscoveryFault => ({
    name,
    code: 'CLUSTER_UNTRUSTED',
    begin: (proxy) => proxy.show(pair),
    end: (proxy) => proxy.show(pinned),
  });
  return [
    served('certificate of a CA that is listed and not pinned', listed),
    served('certificate of an unknown CA', stranger),
    ...Object.entries(damages).map(([name, change]): DiscoveryFault => ({
      name,
      places: ['first'],
      code: 'CLUSTER_UNTRUSTED',
      serve: async (exchange) => answerBytes(exchange, (body) => changed(body, change)),
    })),
    {
      name: 'another cluster-info in the second response',
      places: ['second'],
      code: 'CLUSTER_UNTRUSTED',
      serve: async (exchange) =>
        answerBytes(exchange, (body) =>
          changed(body, (data) => ({ ...data, kubeconfig: `${data['kubeconfig']}#\n` })),
        ),
    },
  ];
}

type Data = Record<string, string>;

/** Damage of cluster-info by a server that cannot sign it. */
const damages: Readonly<Record<string, (data: Data) => Data>> = {
  'cluster-info with another server': (data) => ({
    ...data,
    kubeconfig: (data['kubeconfig'] ?? '').replace(/server: .*/, 'server: https://192.0.2.1'),
  }),
  'signature of another token': (data) => withSignatures(data, (_, all) => all.at(-1) ?? ''),
  'signature with the algorithm none': (data) =>
    withSignatures(data, () => `${base64url('{"alg":"none"}')}..`),
  'signature with the algorithm RS256': (data) =>
    withSignatures(data, (signature) => {
      const { kid } = headerOf(signature);
      return `${base64url(JSON.stringify({ alg: 'RS256', kid }))}..${signature.split('.')[2]}`;
    }),
  'signature with padding': (data) => withSignatures(data, (signature) => `${signature}=`),
  'signature with one bit flipped': (data) =>
    withSignatures(data, (signature) => {
      const bytes = Buffer.from(signature);
      bytes[bytes.length - 5] = (bytes.at(-5) ?? 0) ^ 1;
      return bytes.toString();
    }),
};

function headerOf(signature: string): { readonly kid: string } {
  const [header = ''] = signature.split('.');
  return JSON.parse(Buffer.from(header, 'base64url').toString()) as { kid: string };
}

function isSignature(name: string): boolean {
  return name.startsWith('jws-kubeconfig-');
}

function withSignatures(
  data: Data,
  change: (signature: string, all: readonly string[]) => string,
): Data {
  const all = Object.keys(data)
    .filter(isSignature)
    .map((name) => data[name] ?? '');
  return Object.fromEntries(
    Object.entries(data).map(([name, value]) => [
      name,
      isSignature(name)
        ? change(
            value,
            all.filter((other) => other !== value),
          )
        : value,
    ]),
  );
}

function changed(body: Buffer, change: (data: Data) => Data): Buffer {
  const object = JSON.parse(body.toString()) as { readonly data: Data };
  return Buffer.from(JSON.stringify({ ...object, data: change(object.data) }));
}

function base64url(text: string): string {
  return Buffer.from(text).toString('base64url');
}

function status(code: number, reason: string, places: readonly Place[]) {
  return {
    name: places.includes('review') && places.length === 1 ? `${code} for the token` : String(code),
    places,
    serve: (exchange: Exchange) => answerStatus(exchange, { code, reason }),
  };
}

/** What `discover` has to survive without an error. */
const harmlessFaults: readonly DiscoveryFault[] = [
  {
    name: 'answers after 3 s',
    places: requests,
    serve: async (exchange) => {
      await delay((3 * second) / haste);
      await relay(exchange);
    },
  },
];

export function discoveryFaults(pairs: ServingPairs): readonly DiscoveryFault[] {
  return [...transientFaults, ...finalFaults, ...forgeries(pairs), ...harmlessFaults];
}
