import { day, formatDuration } from '../../../core/instant.ts';
import type { ClientUse, Gate, GateInput, GateReason } from '../gate.ts';
import { gateNames } from '../gate.ts';
import type { CaHolder, CaHolderKind } from '../state.ts';
import { caHolderKinds } from '../state.ts';
import { counted, gateOf, holds, judged } from './verdict.ts';

/** The default of `--quiet`. */
const defaultQuiet = day;

/**
 * G8: nothing needs the old CA.
 * @param earlier G5, G6 and G7
 */
export function judgeDroppable(input: GateInput, earlier: readonly Gate[]): Gate {
  return gateOf('G8', [
    ...earlier.flatMap(closed),
    ...caHolderKinds.flatMap((kind) =>
      judged(input.state.holders[kind], plurals[kind], (holders) =>
        ofHolders(kind, holders, input),
      ),
    ),
    ...ofClients(input),
  ]);
}

function closed({ id, state }: Gate): GateReason[] {
  if (state === 'open') return [];
  return [
    {
      state: state === 'unknown' ? 'unknown' : 'waiting',
      message: `${id} (${gateNames[id]}) is not open`,
    },
  ];
}

const plurals: Readonly<Record<CaHolderKind, string>> = {
  ValidatingWebhookConfiguration: 'ValidatingWebhookConfigurations',
  MutatingWebhookConfiguration: 'MutatingWebhookConfigurations',
  APIService: 'APIServices',
  CustomResourceDefinition: 'CustomResourceDefinitions',
  Secret: 'Secrets with tokens of service accounts',
};

const remedies: Readonly<Record<CaHolderKind, string>> = {
  ValidatingWebhookConfiguration: 'Write both CAs into caBundle of its webhooks',
  MutatingWebhookConfiguration: 'Write both CAs into caBundle of its webhooks',
  APIService: 'Write both CAs into spec.caBundle',
  CustomResourceDefinition: 'Write both CAs into spec.conversion.webhook.clientConfig.caBundle',
  Secret:
    'Restart the leading kube-controller-manager, which writes ca.crt into these Secrets; find its node: kubectl --namespace kube-system get lease kube-controller-manager',
};

function ofHolders(
  kind: CaHolderKind,
  holders: readonly CaHolder[],
  { authorities: { old, next } }: GateInput,
): GateReason[] {
  const objects = holders
    .filter(({ authorities }) => holds(authorities, old) && !holds(authorities, next))
    .map(({ name }) => `${kind}/${name}`);
  if (objects.length === 0) return [];
  return [
    {
      state: 'waiting',
      message: `${objects.length} of ${holders.length} ${plurals[kind]} have the old CA and lack the new CA`,
      remedy: remedies[kind],
      objects,
    },
  ];
}

function ofClients(input: GateInput): readonly GateReason[] {
  if (input.confirmed?.clients === true) return [];
  if (input.clients === undefined) return [unwatched];
  return ofAuditLog(input.clients, input);
}

const unwatched: GateReason = {
  state: 'unknown',
  message: 'cannot see whether a client still uses a certificate from the old CA',
  remedy:
    'Name the audit log of the API servers with --audit-log FILE, or check the clients yourself and confirm with --clients-ok',
};

function ofAuditLog({ from, clients }: ClientUse, { state, confirmed }: GateInput): GateReason[] {
  const { quietMs = defaultQuiet } = confirmed ?? {};
  const since = state.readAt - quietMs;
  const users = clients.filter(({ lastSeen }) => lastSeen >= since).map(({ user }) => user);
  return [
    ...(from <= since
      ? []
      : [
          {
            state: 'waiting' as const,
            message: `the audit log covers the last ${formatDuration(state.readAt - from)}, and has to cover ${formatDuration(quietMs)}`,
            remedy: 'Name older audit logs too: --audit-log FILE',
          },
        ]),
    ...(users.length === 0
      ? []
      : [
          {
            state: 'waiting' as const,
            message: `${counted(users.length, 'client')} used a certificate that the new CA did not issue within the last ${formatDuration(quietMs)}`,
            remedy: 'Give these clients certificates that the new CA issues',
            objects: users,
          },
        ]),
  ];
}
