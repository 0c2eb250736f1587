import type { AgentConfig } from '../core/config.ts';
import { second } from '../core/instant.ts';
import type { PreflightFinding } from '../core/findings.ts';
import type { ApiPort } from './connection.ts';
import type { LookAround } from './gathered.ts';
import { gather, judged } from './gathered.ts';
import { judgeLocal, lookLocally } from './local.ts';
import { askPermissions, judgePermissions, neededPermissions } from './permissions.ts';

const requestMs = 10 * second;

/**
 * The part of the examination that an agent makes of itself once per run: the files,
 * and whether renewal is permitted. Whatever else there is to ask the API server, the
 * agent's own requests find out; what is missing for renewal shows when the first
 * certificate expires, often a year later. One request, so that a cluster full of
 * agents that restart does not feel it.
 */
export async function preflightAtStart(
  config: AgentConfig,
  api: Pick<ApiPort, 'open'>,
  around: LookAround,
): Promise<PreflightFinding[]> {
  const [local, renewal] = await Promise.all([
    lookLocally(config, around),
    judgeRenewal(config, api, around),
  ]);
  const findings = [...judgeLocal(local, { config, now: around.clock.now() }), ...renewal];
  return findings.filter(({ severity }) => severity !== 'ok');
}

/** Nothing without an identity of the node's own: only that one renews. */
async function judgeRenewal(
  config: AgentConfig,
  api: Pick<ApiPort, 'open'>,
  around: LookAround,
): Promise<PreflightFinding[]> {
  const connection = await api.open().catch(() => undefined);
  if (connection === undefined || connection.source === 'bootstrap') return [];
  const needed = neededPermissions(config, connection.source).filter(
    ({ purpose }) => purpose === 'approval',
  );
  if (needed.length === 0) return [];
  const what = 'the permission to renew';
  const facts = await gather(
    {
      what,
      ms: requestMs,
      timeoutCode: 'API_TIMEOUT',
      look: (signal) => askPermissions(connection, needed, signal),
    },
    around,
  );
  return judged(what, facts, (found) => judgePermissions(found, config.nodeName));
}
