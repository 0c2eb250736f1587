import type { AgentConfig } from '../core/config.ts';
import { second } from '../core/instant.ts';
import type { DoctorFinding } from '../core/findings.ts';
import type { ApiPort } from './connection.ts';
import type { CheckContext } from './check.ts';
import { runCheck, evaluate } from './check.ts';
import { fileFindings, inspectFiles } from './files.ts';
import { askPermissions, permissionFindings, neededPermissions } from './permissions.ts';

const requestMs = 10 * second;

/**
 * The part of the examination that an agent makes of itself once per run: the files,
 * and whether renewal is permitted. Whatever else there is to ask the API server, the
 * agent's own requests find out; what is missing for renewal shows when the first
 * certificate expires, often a year later. One request, so that a cluster full of
 * agents that restart does not feel it.
 */
export async function checkNodeAtStart(
  config: AgentConfig,
  api: Pick<ApiPort, 'open'>,
  context: CheckContext,
): Promise<DoctorFinding[]> {
  const [local, renewal] = await Promise.all([
    inspectFiles(config, context),
    renewalFindings(config, api, context),
  ]);
  const findings = [...fileFindings(local, { config, now: context.clock.now() }), ...renewal];
  return findings.filter(({ severity }) => severity !== 'ok');
}

/** Nothing without an identity of the node's own: only that one renews. */
async function renewalFindings(
  config: AgentConfig,
  api: Pick<ApiPort, 'open'>,
  context: CheckContext,
): Promise<DoctorFinding[]> {
  const connection = await api.open().catch(() => undefined);
  if (connection === undefined || connection.source === 'bootstrap') return [];
  const needed = neededPermissions(config, connection.source).filter(
    ({ purpose }) => purpose === 'approval',
  );
  if (needed.length === 0) return [];
  const what = 'the permission to renew';
  const facts = await runCheck(
    {
      what,
      timeoutMs: requestMs,
      timeoutCode: 'API_TIMEOUT',
      inspect: (signal) => askPermissions(connection, needed, signal),
    },
    context,
  );
  return evaluate(what, facts, (found) => permissionFindings(found, config.nodeName));
}
