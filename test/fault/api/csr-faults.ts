import { setTimeout as delay } from 'node:timers/promises';
import { hour, second } from '../../../src/core/instant.ts';
import type { ProxyFault } from '../../support/fault-proxy.ts';
import { relay, verbIs } from '../../support/fault-proxy.ts';
import { csrPath } from '../../support/real-csr.ts';
import type { CsrJson } from './answers.ts';
import { relayRewritten, asPending, asUnissued } from './answers.ts';
import type { ApiFault, FaultContext } from './fault.ts';
import { served } from './fault.ts';

/** The CSR of the same name belongs to another requestor. */
export const csrFaults: readonly ApiFault[] = [
  {
    name: 'CSR deleted while it waits',
    places: ['wait'],
    longWait: true,
    codes: ['CSR_DELETED'],
    wasted: 1,
    begin: (context) => {
      context.proxy.set({
        meets: verbIs('create', 'watch', 'get'),
        serve: async (exchange) => {
          if (exchange.verb !== 'create') return relayRewritten(exchange, asPending);
          await relayRewritten(exchange, async (csr) => {
            await deleteCsr(context, csr);
            return csr;
          });
        },
      });
    },
  },
  {
    name: 'CSR deleted, and its name used and issued for another requestor',
    places: ['wait'],
    longWait: true,
    codes: ['CSR_DELETED'],
    wasted: 1,
    begin: (context) => {
      context.proxy.set({
        meets: verbIs('create', 'watch'),
        serve: async (exchange) => {
          // The watch misses the change, and a read returns another object of the same
          // name.
          if (exchange.verb === 'watch') return void exchange.response.socket?.resetAndDestroy();
          await relayRewritten(exchange, async (csr) => {
            await deleteCsr(context, csr);
            await takeName(context, csr);
            return csr;
          });
        },
      });
    },
  },
  {
    name: '409: the name belongs to another requestor',
    places: ['create'],
    longWait: true,
    codes: ['API_CONFLICT'],
    wasted: 1,
    begin: (context) => {
      context.proxy.set({
        meets: verbIs('create'),
        serve: async (exchange) => {
          await takeName(context, JSON.parse(exchange.body.toString()) as CsrJson);
          await relay(exchange);
        },
      });
    },
  },
];

async function deleteCsr(
  { admin }: FaultContext,
  { metadata }: Pick<CsrJson, 'metadata'>,
): Promise<void> {
  await admin.must({ method: 'DELETE', path: csrPath(metadata.name) });
}

/** A CSR of another key under the same name. */
async function takeName(
  { admin, controlPlane, issuer }: FaultContext,
  { metadata, spec }: CsrJson,
): Promise<void> {
  const request = await issuer.sameRequest(Buffer.from(spec.request, 'base64').toString());
  await admin.must({
    method: 'POST',
    path: csrPath(),
    body: {
      apiVersion: 'certificates.k8s.io/v1',
      kind: 'CertificateSigningRequest',
      metadata: { name: metadata.name },
      spec: { ...spec, request: Buffer.from(request).toString('base64') },
    },
  });
  await controlPlane.approve(metadata.name);
}

/** The CSR is approved, but not signed for a day of the agent's clock. */
const unsigned: Pick<ApiFault, 'places' | 'longWait' | 'events' | 'codes' | 'begin' | 'meanwhile'> =
  {
    places: ['wait'],
    longWait: true,
    events: ['csr_unissued'],
    codes: [],
    ...served((exchange) => relayRewritten(exchange, asUnissued)),
    meanwhile: async ({ agentNow, setAgentClock }) => {
      for (let hours = 0; hours < 24; hours += 1) {
        await setAgentClock(agentNow() + hour);
        await delay(second / 2);
      }
    },
  };

/** The watch reports the certificate only after the fault. */
function withhold({ proxy }: FaultContext): void {
  const serve: ProxyFault['serve'] = (exchange) =>
    relayRewritten(exchange, async (csr) => {
      if (exchange.verb !== 'watch') return asUnissued(csr);
      if (csr.status?.certificate !== undefined) await over();
      return csr;
    });
  const over = async (): Promise<void> => {
    while (proxy.fault?.serve === serve) await delay(second / 10);
  };
  proxy.set({ meets: verbIs('watch', 'get'), serve });
}

export const signerFaults: readonly ApiFault[] = [
  {
    name: 'approved and not issued for a day, then issued',
    ...unsigned,
    resumes: true,
    begin: withhold,
  },
  {
    name: 'approved and not issued for a day, then deleted by the cleaner',
    ...unsigned,
    wasted: 1,
    end: async (context) => {
      for (const { created } of context.proxy.seen) {
        if (created !== undefined) await deleteCsr(context, { metadata: { name: created } });
      }
    },
  },
];
