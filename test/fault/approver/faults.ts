import assert from 'node:assert/strict';
import { setTimeout as delay } from 'node:timers/promises';
import { second } from '../../../src/core/instant.ts';
import type { ProxyFault } from '../../support/fault-proxy.ts';
import { relay } from '../../support/fault-proxy.ts';
import { answerStatus, breakOff, statusObject, swallow } from '../api/answers.ts';
import {
  cutWatch,
  everything,
  firstEventAgain,
  isDecision,
  isList,
  isWatch,
  isWatchList,
  isWatchOf,
  relayLines,
  silence,
} from './answers.ts';
import type { ApproverFault, Stage } from './fault.ts';

const asked = 4;

/** The faults, each on an approver that already leads unless it says otherwise. */
export const approverFaults: readonly ApproverFault[] = [
  {
    name: 'connection reset in the middle of a list',
    atStart: true,
    proxied: {
      meets: (exchange) => isWatchList(exchange) || isList(exchange),
      times: 12,
      serve: async (exchange) => {
        if (isList(exchange)) await breakOff(exchange);
        else answerStatus(exchange, { code: 400, reason: 'BadRequest' });
      },
    },
    meets: 12,
    codes: ['API_UNREACHABLE'],
  },
  {
    name: 'connection reset in the middle of a watch',
    proxied: { meets: isWatch, times: 10, serve: cutWatch },
    meets: 6,
    codes: ['API_UNREACHABLE'],
  },
  {
    name: 'decision lost before the API server stores it',
    proxied: {
      meets: isDecision,
      times: 3,
      serve: async ({ response }) => void response.socket?.resetAndDestroy(),
    },
    codes: ['API_UNREACHABLE'],
  },
  {
    name: 'answer lost after the decision was stored',
    proxied: {
      meets: isDecision,
      times: 3,
      serve: async (exchange) => {
        await swallow(exchange);
        exchange.response.socket?.resetAndDestroy();
      },
    },
    codes: ['API_UNREACHABLE'],
  },
  {
    name: 'answer to a decision cut off',
    proxied: { meets: isDecision, times: 3, serve: breakOff },
    codes: ['API_UNREACHABLE'],
  },
  {
    name: '429 with Retry-After',
    proxied: {
      meets: isDecision,
      serve: async (exchange) => {
        const headers = { 'retry-after': String(asked) };
        answerStatus(exchange, { code: 429, reason: 'TooManyRequests', headers });
      },
    },
    asked,
    seconds: 2 * asked,
    codes: ['API_THROTTLED'],
  },
  ...[500, 503, 504].map((code): ApproverFault => ({
    name: `${code} for every request`,
    proxied: { meets: everything, serve: status(code) },
    seconds: 20,
    codes: ['API_SERVER_ERROR'],
  })),
  {
    name: '500 for decisions',
    proxied: { meets: isDecision, serve: status(500) },
    seconds: 10,
    codes: ['API_SERVER_ERROR'],
  },
  { name: 'connection refused', unreachable: 'refuses', seconds: 20, codes: ['API_UNREACHABLE'] },
  {
    name: 'API server that accepts connections and never answers',
    unreachable: 'mute',
    seconds: 60,
    codes: ['API_TIMEOUT', 'API_UNREACHABLE'],
    slow: true,
  },
  {
    name: 'answers after 3 s',
    proxied: {
      meets: (exchange) => !isWatch(exchange),
      times: 12,
      serve: async (exchange) => {
        await delay(3 * second);
        await relay(exchange);
      },
    },
    codes: [],
  },
  {
    name: 'watch that ends at once',
    proxied: {
      meets: isWatch,
      times: 20,
      serve: async ({ response }) => {
        response.writeHead(200, { 'content-type': 'application/json' });
        response.end();
      },
    },
    meets: 20,
    codes: ['API_UNREACHABLE'],
  },
  {
    name: '410 in answer to a watch',
    proxied: { meets: isWatch, times: 8, serve: status(410) },
    meets: 8,
    codes: [],
  },
  {
    name: '410 as an event of a watch',
    proxied: {
      meets: isWatch,
      times: 8,
      serve: async ({ response }) => {
        response.writeHead(200, { 'content-type': 'application/json' });
        const object = statusObject(410, 'Expired', 'too old resource version');
        response.end(`${JSON.stringify({ type: 'ERROR', object })}\n`);
      },
    },
    meets: 8,
    codes: [],
  },
  {
    name: 'watch that repeats each event 100 times',
    proxied: {
      meets: isWatch,
      serve: (exchange) => relayLines(exchange, (line) => Array<string>(100).fill(line)),
    },
    seconds: 2,
    codes: [],
  },
  {
    name: 'watch that sends the first state of a CSR again after its decision',
    proxied: {
      meets: isWatchOf('certificatesigningrequests'),
      serve: (exchange) => relayLines(exchange, firstEventAgain()),
    },
    seconds: 3,
    codes: [],
  },
  {
    name: 'watch that goes silent for its whole time, five to ten minutes',
    proxied: { meets: isWatch, times: 5, serve: silence },
    meets: 4,
    haste: 10,
    codes: [],
    slow: true,
  },
  {
    name: 'watch of Nodes that fails while an address moves to another node',
    proxied: { meets: isWatchOf('nodes'), serve: status(500) },
    seconds: 3,
    codes: ['API_SERVER_ERROR'],
    meanwhile: requestsFormerName,
    afterwards: approvesOnlyTheOwner,
  },
];

function status(code: number): ProxyFault['serve'] {
  return async (exchange) => {
    answerStatus(exchange, { code, reason: 'Fault' });
  };
}

/** A node requests a certificate for a name that it has lost while the approver cannot see Nodes. */
async function requestsFormerName({ cluster, name }: Stage): Promise<void> {
  await cluster.setNode(`${name}-mover`, [{ type: 'Hostname', address: 'elsewhere' }]);
  await cluster.createCsr({
    node: `${name}-mover`,
    dns: [`${name}-mover`],
    name: `${name}-former`,
  });
  await delay(3 * second);
  assert.deepEqual(await cluster.conditions(`${name}-former`), []);
}

async function approvesOnlyTheOwner({ cluster, approver, name }: Stage): Promise<void> {
  await cluster.until('a hold', () => approver.holds(`${name}-former`).includes('SANNotOwned'));
  assert.deepEqual(await cluster.conditions(`${name}-former`), []);
  await cluster.plane.deleteCsr(`${name}-former`);
}
