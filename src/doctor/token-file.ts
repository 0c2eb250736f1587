import { stat } from 'node:fs/promises';
import type { AgentConfig } from '../core/config.ts';
import { toFailure } from '../core/errors.ts';
import type { Failure } from '../core/errors.ts';
import type { DoctorFinding, Severity } from '../core/findings.ts';
import { readTokenFile } from '../kube/token-file.ts';
import type { BootstrapContext } from './bootstrap.ts';
import { whyOf } from './bootstrap.ts';
import { failureFinding } from './check.ts';
import { permissionFinding } from './kubeconfig-findings.ts';

/** The token file of `bootstrap.discovery`, without the secret part of the token. */
export type TokenFileState =
  | { readonly kind: 'unusable'; readonly failure: Failure }
  | { readonly kind: 'loaded'; readonly path: string; readonly mode: number; readonly id: string };

/** Undefined without `bootstrap.discovery`. */
export async function inspectTokenFile({
  bootstrap,
}: AgentConfig): Promise<TokenFileState | undefined> {
  if (bootstrap.discovery === undefined) return undefined;
  const { tokenFile: path } = bootstrap.discovery;
  try {
    using token = await readTokenFile(path);
    const { mode } = await stat(path);
    return { kind: 'loaded', path, mode: mode & 0o7777, id: token.id };
  } catch (error) {
    return { kind: 'unusable', failure: toFailure(error) };
  }
}

export interface TokenFileContext extends Pick<BootstrapContext, 'needed'> {
  /** The agent removes the file after the bootstrap. */
  readonly deleteAfterUse: boolean;
}

export function tokenFileFindings(
  state: TokenFileState,
  { needed, deleteAfterUse }: TokenFileContext,
): DoctorFinding[] {
  const severity: Severity = needed ? 'error' : 'info';
  if (state.kind === 'unusable') {
    const isMissing = state.failure.code === 'KUBECONFIG_MISSING';
    if (isMissing && deleteAfterUse && !needed) return [];
    const id = isMissing ? 'bootstrap-missing' : 'bootstrap-invalid';
    return [failureFinding(state.failure, { id, severity, why: whyOf({ needed }) })];
  }
  const { path, mode, id } = state;
  if ((mode & 0o077) !== 0) return [permissionFinding(path, mode)];
  return [
    {
      id: 'bootstrap-credential',
      severity: 'info',
      what: `${path} contains the bootstrap token ${id}; only a discovery shows whether it is valid`,
    },
  ];
}
