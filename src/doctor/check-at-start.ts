import type { AgentConfig } from '../core/config.ts';
import { second } from '../core/instant.ts';
import type { DoctorFinding } from '../core/findings.ts';
import type { ApiPort } from './connection.ts';
import { connect } from './connection.ts';
import type { CheckContext } from './check.ts';
import { runCheck, evaluate } from './check.ts';
import { fileFindings, inspectFiles } from './files.ts';
import { askPermissions, permissionFindings, neededPermissions } from './permissions.ts';

const requestMs = 10 * second;

/**
 * The doctor checks that an agent runs once per start: the files, and the permission to
 * renew. The agent's own requests reveal most API problems, but a missing permission to
 * renew would only show when the first certificate expires, often a year later. This
 * sends a single request, so that many agents can restart without loading the API server.
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

/** Empty without a client certificate of the node, because only that identity renews. */
async function renewalFindings(
  config: AgentConfig,
  api: Pick<ApiPort, 'open'>,
  context: CheckContext,
): Promise<DoctorFinding[]> {
  const connection = await connect(api, context.signal).catch(() => undefined);
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
