import { answerBytes, breakOff, flood, swallow, trickle } from './answers.ts';
import type { ApiFault } from './fault.ts';
import { requests, served } from './fault.ts';

const mebibyte = 1024 * 1024;

/** Connections that fail, or that reach another server. */
export const connectionFaults: readonly ApiFault[] = [
  {
    name: 'connection refused',
    places: ['connection'],
    codes: ['API_UNREACHABLE'],
    meets: 0,
    begin: ({ proxy }) => proxy.leave(),
    end: ({ proxy }) => proxy.listen(),
  },
  {
    name: 'black hole before TLS',
    places: ['connection'],
    codes: ['API_TIMEOUT'],
    meets: 0,
    begin: ({ proxy }) => void (proxy.mute = true),
    end: ({ proxy }) => {
      proxy.mute = false;
      proxy.cut();
    },
  },
  {
    name: 'server certificate of an unknown CA',
    places: ['connection'],
    codes: ['API_UNTRUSTED'],
    meets: 0,
    begin: async ({ proxy, issuer }) => proxy.show(await issuer.serving('stranger')),
    end: async ({ proxy, issuer }) => proxy.show(await issuer.serving('known')),
  },
];

/** Responses that do not arrive, or arrive damaged. The server has processed the request. */
export const answerFaults: readonly ApiFault[] = [
  {
    name: 'reset mid-body',
    places: requests,
    codes: ['API_UNREACHABLE'],
    ...served(breakOff),
  },
  {
    name: 'black hole: no answer',
    places: requests,
    codes: ['API_TIMEOUT'],
    ...served(async (exchange) => {
      if (exchange.verb === 'create') await swallow(exchange);
      await exchange.closed;
    }),
  },
  {
    name: 'slow loris',
    places: requests,
    codes: ['API_TIMEOUT'],
    ...served(async (exchange) => {
      // A watch may be slow, but the following read may not.
      if (exchange.verb === 'watch') exchange.response.socket?.resetAndDestroy();
      else await trickle(exchange);
    }),
  },
  {
    name: 'truncated JSON',
    places: requests,
    codes: ['API_BAD_RESPONSE'],
    ...served((exchange) => answerBytes(exchange, (body) => body.subarray(0, body.length / 2))),
  },
  {
    name: 'garbage JSON',
    places: requests,
    codes: ['API_BAD_RESPONSE'],
    ...served((exchange) => answerBytes(exchange, () => Buffer.from('<html>It works!</html>\n'))),
  },
  {
    name: 'body of 200 MiB',
    places: requests,
    codes: ['API_BAD_RESPONSE'],
    memory: true,
    ...served(async (exchange) => flood(exchange, 200 * mebibyte)),
  },
];
