import type { ErrorCode, Failure } from './errors.ts';
import type { Instant } from './instant.ts';
import { formatInstant, second } from './instant.ts';
import { remedies } from './remedies.ts';

/** A hook as configured, with every default filled in. */
export type HookSpec = HookAction & HookLimits;

export type HookAction =
  /** The program by its absolute path, and its arguments; no shell. */
  | { readonly kind: 'command'; readonly argv: readonly string[] }
  | { readonly kind: 'systemctl'; readonly verb: SystemctlVerb; readonly unit: string }
  /** Sent to the current main process of the unit. */
  | { readonly kind: 'signal'; readonly signal: HookSignal; readonly unit: string };

export interface HookLimits {
  /** The timeout of one attempt in milliseconds. */
  readonly timeoutMs: number;
  /** Attempts after the first one. */
  readonly retries: number;
}

/** The endpoints that serve the certificate, and the reaction if they serve another one. */
export interface ServedSpec {
  readonly endpoints: readonly Endpoint[];
  /** SNI for all endpoints. Default: the host of each endpoint, unless it is an IP address. */
  readonly serverName?: string;
  /** Milliseconds that the servers have to reload. */
  readonly withinMs: number;
  readonly onFailure: 'report' | 'rollback';
}

export interface Endpoint {
  /** As configured. Logs and metrics use this name. */
  readonly name: string;
  /** An IP address without brackets, or a host name. */
  readonly host: string;
  readonly port: number;
}

export const systemctlVerbs = ['reload', 'restart', 'try-restart', 'reload-or-restart'] as const;
export type SystemctlVerb = (typeof systemctlVerbs)[number];

/** The signals that make programs reload their files, or stop. */
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

/** What hooks run for: a pair that a rotation stored, or all certificates that a renewal replaced. */
export interface HookedPair {
  readonly serial: string;
  readonly notAfter?: Instant;
  readonly selfSigned?: boolean;
  /** The names of the certificates that a renewal replaced. */
  readonly renewed?: readonly string[];
}

/** The name of each hook in logs, metrics and status. Repeated names get a number. */
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
 * @param systemctl the absolute path of systemctl on this machine
 */
export function hookCommand(hook: HookAction, systemctl: string): readonly string[] {
  switch (hook.kind) {
    case 'command':
      return hook.argv;
    case 'systemctl':
      return [systemctl, '--no-ask-password', hook.verb, '--', hook.unit];
    case 'signal':
      // systemd 252 renamed the option to --kill-whom and still accepts this one.
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

/**
 * The complete environment of a hook after a rotation. It contains no secrets and no variables of
 * the agent.
 */
export function hookEnvironment(
  certificate: string,
  path: string,
  { serial, notAfter }: HookedPair,
): Record<string, string> {
  return {
    PATH: hookPath,
    NODECERTD_CERTIFICATE: certificate,
    NODECERTD_PATH: path,
    NODECERTD_SERIAL: serial,
    ...(notAfter !== undefined && { NODECERTD_NOT_AFTER: formatInstant(notAfter) }),
  };
}

/** The complete environment of a hook after a renewal of control-plane certificates. */
export function renewalEnvironment(
  directory: string,
  certificates: readonly string[],
): Record<string, string> {
  return {
    PATH: hookPath,
    NODECERTD_DIRECTORY: directory,
    NODECERTD_CERTIFICATES: certificates.join(' '),
  };
}

/**
 * Stands for the certificate in logs, metrics and state.json: the key of the configuration. The
 * name of a certificate has no capitals.
 */
export const trustHookTarget = 'onTrustChange';

/** The complete environment of a hook after a change of the CAs that this node trusts. */
export function trustEnvironment(
  changedAt: string,
  fingerprints: readonly string[],
): Record<string, string> {
  return {
    PATH: hookPath,
    NODECERTD_TRUST_CHANGED_AT: changedAt,
    NODECERTD_TRUST_CAS: fingerprints.join(' '),
  };
}

const hookPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** The end of a hook. The type in sys/run-command.ts has the same kinds. */
export type HookEnd =
  | { readonly kind: 'exited'; readonly code: number }
  | { readonly kind: 'signaled'; readonly signal: string }
  | { readonly kind: 'timed-out' }
  | { readonly kind: 'not-started'; readonly reason: string };

/** Undefined if the hook succeeded. */
export function hookFailure(
  name: string,
  end: HookEnd,
  { timeoutMs }: Pick<HookLimits, 'timeoutMs'>,
): Failure | undefined {
  switch (end.kind) {
    case 'exited':
      return end.code === 0
        ? undefined
        : failure('HOOK_FAILED', name, `failed with exit code ${end.code}`);
    case 'signaled':
      return failure('HOOK_FAILED', name, `was killed by ${end.signal}`);
    case 'timed-out':
      return failure('HOOK_TIMEOUT', name, `timed out after ${timeoutMs / second}s and was killed`);
    case 'not-started':
      return failure('HOOK_FAILED', name, `could not be started: ${end.reason}`);
    default:
      return end satisfies never;
  }
}

function failure(code: ErrorCode, name: string, what: string): Failure {
  return { code, message: `hook ${name} ${what}`, remedy: remedies[code] };
}
