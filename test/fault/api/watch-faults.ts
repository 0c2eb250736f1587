import type { ProxyFault } from '../../support/fault-proxy.ts';
import { answerStatus, relayRewritten, statusObject, asPending } from './answers.ts';
import type { ApiFault } from './fault.ts';
import { served } from './fault.ts';

/** Watches that do not work, while a read shows a pending CSR. */
export const watchFaults: readonly ApiFault[] = [
  {
    name: 'watch that ends at once',
    meets: 5,
    ...watching(async ({ response }) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end();
    }),
  },
  {
    name: 'watch that goes silent',
    slow: true,
    events: ['csr_wait_retrying'],
    ...watching(async ({ response, closed }) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.flushHeaders();
      await closed;
    }),
  },
  {
    name: 'watch that repeats each event 1000 times',
    ...watching(async (exchange) => relayRewritten(exchange, (csr) => csr, 1000)),
  },
  {
    name: '410 in answer to a watch',
    meets: 5,
    ...watching(async (exchange) => answerStatus(exchange, { code: 410, reason: 'Expired' })),
  },
  {
    name: '410 as an event of a watch',
    meets: 5,
    ...watching(async ({ response }) => {
      response.writeHead(200, { 'content-type': 'application/json' });
      const object = statusObject(410, 'Expired', 'too old resource version');
      response.end(`${JSON.stringify({ type: 'ERROR', object })}\n`);
    }),
  },
];

function watching(serve: ProxyFault['serve']): Pick<ApiFault, 'places' | 'codes' | 'begin'> {
  return {
    places: ['wait'],
    codes: [],
    ...served((exchange) =>
      exchange.verb === 'watch' ? serve(exchange) : relayRewritten(exchange, asPending),
    ),
  };
}
