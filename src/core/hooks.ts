import type { PairFacts } from './certificate.ts';
import type { ErrorCode, Failure } from './errors.ts';
import { formatInstant, second } from './instant.ts';
import { remedies } from './remedies.ts';

/** What is done after a rotation, as configured, with every default filled in. */
export type HookSpec = HookAction & HookLimits;

export type HookAction =
  /** The program by its absolute path, and its arguments; no shell. */
  | { readonly kind: 'command'; readonly argv: readonly string[] }
  | { readonly kind: 'systemctl'; readonly verb: SystemctlVerb; readonly unit: string }
  /** To the main process of the unit, whichever that is by then. */
  | { readonly kind: 'signal'; readonly signal: HookSignal; readonly unit: string };

export interface HookLimits {
  /** Milliseconds that one try may take. */
  readonly timeoutMs: number;
  /** Further tries after the first. */
  readonly retries: number;
}

/** Where the certificate is served, and what to do when another one is. */
export interface ServedSpec {
  readonly endpoints: readonly Endpoint[];
  /** SNI for all of them; the host of each, where it is a name, when absent. */
  readonly serverName?: string;
  /** How long the servers may take. */
  readonly withinMs: number;
  readonly onFailure: 'report' | 'rollback';
}

export interface Endpoint {
  /** As configured: names it in logs and metrics. */
  readonly name: string;
  /** An IP address without brackets, or a host name. */
  readonly host: string;
  readonly port: number;
}

export const systemctlVerbs = ['reload', 'restart', 'try-restart', 'reload-or-restart'] as const;
export type SystemctlVerb = (typeof systemctlVerbs)[number];

/** Those by which programs are asked to read their files anew, or to end. */
export const hookSignals = [
  'SIGHUP',
  'SIGUSR1',
  'SIGUSR2',
  'SIGWINCH',
  'SIGINT',
  'SIGQUIT',
  'SIGTERM',
] as const;
export type HookSignal = (typeof hookSignals)[number];

/**
 * What each hook of a list is called in logs, metrics and status. Two that do the same
 * are told apart by a number.
 */
export function hookNames(hooks: readonly HookAction[]): string[] {
  const counts = new Map<string, number>();
  return hooks.map((hook) => {
    const name = nameOf(hook);
    const count = (counts.get(name) ?? 0) + 1;
    counts.set(name, count);
    return count === 1 ? name : `${name} (${count})`;
  });
}

function nameOf(hook: HookAction): string {
  switch (hook.kind) {
    case 'command':
      return hook.argv[0] ?? '';
    case 'systemctl':
      return `${hook.verb} ${hook.unit}`;
    case 'signal':
      return `${hook.signal} ${hook.unit}`;
    default:
      return hook satisfies never;
  }
}

/**
 * The program and its arguments.
 * @param systemctl its absolute path on this machine
 */
export function hookCommand(hook: HookAction, systemctl: string): readonly string[] {
  switch (hook.kind) {
    case 'command':
      return hook.argv;
    case 'systemctl':
      return [systemctl, '--no-ask-password', hook.verb, '--', hook.unit];
    case 'signal':
      // Since systemd 252 the option is called --kill-whom, and this an abbreviation of it.
      return [
        systemctl,
        '--no-ask-password',
        '--kill-who=main',
        `--signal=${hook.signal}`,
        'kill',
        '--',
        hook.unit,
      ];
    default:
      return hook satisfies never;
  }
}

/** All that a hook learns: nothing of the agent's own environment, and nothing secret. */
export function hookEnvironment(
  certificate: string,
  path: string,
  { serial, notAfter }: Pick<PairFacts, 'serial' | 'notAfter'>,
): Record<string, string> {
  return {
    PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    NODECERTD_CERTIFICATE: certificate,
    NODECERTD_PATH: path,
    NODECERTD_SERIAL: serial,
    NODECERTD_NOT_AFTER: formatInstant(notAfter),
  };
}

/** How a hook came to its end; the process runner has the same words. */
export type HookEnd =
  | { readonly kind: 'exited'; readonly code: number }
  | { readonly kind: 'signalled'; readonly signal: string }
  | { readonly kind: 'timed-out' }
  | { readonly kind: 'not-started'; readonly reason: string };

/** Undefined when it did what it should. */
export function hookFailure(
  name: string,
  end: HookEnd,
  { timeoutMs }: Pick<HookLimits, 'timeoutMs'>,
): Failure | undefined {
  switch (end.kind) {
    case 'exited':
      return end.code === 0 ? undefined : failure('HOOK_FAILED', name, `exit code ${end.code}`);
    case 'signalled':
      return failure('HOOK_FAILED', name, `ended by ${end.signal}`);
    case 'timed-out':
      return failure('HOOK_TIMEOUT', name, `not done within ${timeoutMs / second} s, and ended`);
    case 'not-started':
      return failure('HOOK_FAILED', name, `not started: ${end.reason}`);
    default:
      return end satisfies never;
  }
}

function failure(code: ErrorCode, name: string, what: string): Failure {
  return { code, message: `the hook ${name}: ${what}`, remedy: remedies[code] };
}
