import { createdAt } from '../../approver/cluster.ts';
import { formatInstant, minute } from '../../../src/core/instant.ts';
import type { Change, CsrJson, Verdict } from './csr-change.ts';

/** Changes of the object around the request. */

type Section = keyof CsrJson;

const valid: readonly Verdict[] = [];
const malformed: readonly Verdict[] = ['malformed'];
const undecided: readonly Verdict[] = ['NotPending'];

/** Values that are neither text nor nothing. */
const notTexts: readonly unknown[] = [0, 1.5, true, false, [], ['a'], {}, { a: 'b' }, [[]]];
const notLists: readonly unknown[] = ['', 'a', 0, true, { 0: 'a', length: 1 }];
const odd: readonly unknown[] = [
  null,
  0,
  -1,
  1e308,
  true,
  '',
  'x'.repeat(3_000),
  [],
  {},
  deep(500),
];

function deep(levels: number): unknown {
  let value: unknown = 'x';
  for (let level = 0; level < levels; level += 1) value = level % 2 === 0 ? [value] : { a: value };
  return value;
}

/** Sets a field, such as `spec.usages`, to one of these values. */
function change(
  title: `${Section}.${string}: ${string}`,
  verdicts: readonly Verdict[],
  values: readonly unknown[],
): Change {
  const [part, name] = title.split(': ') as [string, string];
  const [section, key] = part.split('.') as [Section, string];
  return {
    part,
    name,
    verdicts,
    object: (csr, random) => {
      csr[section][key] = random.pick(values);
    },
  };
}

function drop(field: `${Section}.${string}`, verdicts: readonly Verdict[]): Change {
  const [section, key] = field.split('.') as [Section, string];
  return {
    part: field,
    name: 'missing',
    verdicts,
    object: (csr) => {
      delete csr[section][key];
    },
  };
}

const metadataChanges: readonly Change[] = [
  ...(['name', 'uid', 'resourceVersion', 'creationTimestamp'] as const).flatMap((key) => [
    change(`metadata.${key}: not a text`, malformed, [...notTexts, null]),
    drop(`metadata.${key}`, malformed),
  ]),
  change('metadata.name: another name', valid, ['csr-2', 'x'.repeat(253), '__proto__', 'a\u202eb']),
  change('metadata.creationTimestamp: not a time', malformed, [
    '',
    'now',
    '0',
    '1',
    '2026',
    '2026-11-22',
    'Sun Nov 22 2026',
    '2026-11-22 10:00:00Z',
    '2026-11-22T10:00:00',
    '2026-13-22T10:00:00Z',
    '+275760-09-13T00:00:00Z',
    '22.11.2026',
    '2026-11-22T10:00:00Z\n',
    ' 2026-11-22T10:00:00Z',
    '2026-11-22T10:00Z',
    '9'.repeat(300),
  ]),
  change(
    'metadata.creationTimestamp: older than the Node',
    ['NodeRecreated'],
    [formatInstant(createdAt - 17 * minute), '0001-01-01T00:00:00Z', '1970-01-01T00:00:00Z'],
  ),
  change('metadata.creationTimestamp: in another form', valid, [
    '2026-11-22T10:00:00.5Z',
    '2026-11-22T12:00:00+02:00',
  ]),
  change('metadata.deletionTimestamp: set', undecided, ['2026-11-22T10:01:00Z', 'x', ' ']),
  change('metadata.deletionTimestamp: not a text', malformed, notTexts),
  change('metadata.deletionTimestamp: not set', valid, ['', null]),
  change('metadata.annotations: texts', valid, [
    null,
    {},
    { a: 'b', 'nodecertd.io/approver': '{' },
  ]),
  change('metadata.annotations: not texts', malformed, [{ a: 1 }, { a: null }, 'a', 7, [0]]),
  change('metadata.labels: anything', valid, odd),
  change('metadata.managedFields: anything', valid, odd),
];

const notNode: readonly Verdict[] = ['RequestorNotNode'];
const ungrouped: readonly Verdict[] = ['GroupsMissing'];
const unused: readonly Verdict[] = ['UsagesNotAllowed'];
const groups = ['system:nodes', 'system:authenticated'];
const usages = ['digital signature', 'server auth'];

const specChanges: readonly Change[] = [
  change('spec.request: not a text', malformed, [...notTexts, null]),
  drop('spec.request', malformed),
  change('spec.request: not base64', malformed, ['%', 'A', 'AAAA=AAAA', 'AA=', '-_-_', 'é']),
  change(
    'spec.request: not PEM',
    ['RequestMalformed'],
    ['', 'AAAA', 'LS0tLS0=', Buffer.alloc(200_000, 'MII').toString('base64')],
  ),
  change('spec.signerName: not a text', malformed, [...notTexts, null]),
  drop('spec.signerName', malformed),
  change('spec.signerName: another signer', undecided, [
    '',
    'kubernetes.io/kubelet-serving ',
    'Kubernetes.io/kubelet-serving',
    'example.com/x',
    'kubernetes.io/kube-apiserver-client-kubelet',
    'kubernetes.io/kubelet-serving\0',
  ]),
  change('spec.username: not a text', malformed, notTexts),
  change('spec.username: not a node', notNode, [
    null,
    '',
    'n1',
    'system:node:',
    'system:node',
    'system:node:N1',
    'system:node:n1 ',
    'system:node:n1\0',
    ' system:node:n1',
    'system:node:n1.',
    'system:nodes:n1',
    'system:anonymous',
    'system:serviceaccount:n1:x',
    'system:node:n1\n',
    'system:node:\u212a1',
    'system:node:*',
    `system:node:${'n'.repeat(300)}`,
  ]),
  drop('spec.username', notNode),
  change(
    'spec.username: another node',
    ['SubjectMismatch', 'KeyReused'],
    ['system:node:n2', 'system:node:n11', 'system:node:n1.example', 'system:node:constructor'],
  ),
  change('spec.groups: not a list', malformed, [...notLists, [1], [null], [[groups]]]),
  change('spec.groups: a missing group', ungrouped, [
    null,
    [],
    ['system:nodes'],
    ['system:authenticated'],
    groups.map((name) => `${name} `),
    ['system:Nodes', 'system:authenticated'],
    ['system:nodes,system:authenticated'],
    ['system:masters'],
  ]),
  drop('spec.groups', ungrouped),
  change('spec.groups: more groups', valid, [
    groups.toReversed(),
    [...groups, ...groups],
    ['', ...groups, 'system:masters'],
    [...Array.from({ length: 2_000 }, (_, at) => `group-${at}`), ...groups],
  ]),
  change('spec.usages: not a list', malformed, [...notLists, [1], [null], [usages]]),
  change('spec.usages: other usages', unused, [
    null,
    [],
    ['server auth'],
    ['digital signature'],
    ['key encipherment'],
    ['Server Auth'],
    ...['client auth', 'any', '', 'signing', 'cert sign'].map((usage) => [...usages, usage]),
    ['digital signature', 'server auth '],
    [...usages, ...Array.from({ length: 2_000 }, () => 'code signing')],
  ]),
  drop('spec.usages', unused),
  change('spec.usages: the same usages', valid, [
    usages.toReversed(),
    [...usages, 'key encipherment'],
    [...usages, ...usages],
  ]),
  change('spec.expirationSeconds: not a number', malformed, ['3600', true, [], {}, [3600]]),
  change(
    'spec.expirationSeconds: too long',
    ['ExpirationTooLong'],
    [31_708_801, 2 ** 31 - 1, 1e308],
  ),
  change('spec.expirationSeconds: allowed', valid, [null, 600, 3_600, 31_708_800]),
  change('spec.extra: anything', valid, [
    ...odd,
    { 'authentication.kubernetes.io/node-name': ['n2'] },
  ]),
  change('spec.uid: anything', valid, odd),
  {
    part: 'spec.username',
    name: 'a username in __proto__',
    verdicts: notNode,
    object: ({ spec }) => {
      const { username } = spec;
      delete spec['username'];
      Object.defineProperty(spec, '__proto__', { value: { username }, enumerable: true });
    },
  },
];

function conditions(...types: readonly string[]): unknown[] {
  return types.map((type) => ({ type, status: 'True', reason: 'x' }));
}

const statusChanges: readonly Change[] = [
  change('status.conditions: a decision', undecided, [
    ...['Approved', 'Denied', 'Failed'].map((type) => conditions(type)),
    conditions('Other', 'Approved'),
    conditions('Denied', 'Approved'),
    [{ type: 'Denied' }],
    [{ type: 'Approved', status: 'False' }],
  ]),
  change('status.conditions: not conditions', malformed, [
    ...notLists,
    [null],
    [1],
    [{}],
    [{ type: 1 }],
  ]),
  change('status.conditions: other conditions', valid, [
    null,
    [],
    conditions('approved', 'Other'),
    conditions('', 'Approved '),
    conditions(...Array.from({ length: 1_000 }, () => 'Other')),
  ]),
  change('status.certificate: set', undecided, ['AAAA', ' ', 'x']),
  change('status.certificate: not a text', malformed, notTexts),
  change('status.certificate: not set', valid, ['', null]),
];

const notObjects: readonly unknown[] = ['', 'a', 7, true];

/** Last, because they replace what other changes have set. */
const wholeChanges: readonly Change[] = [
  replace('metadata: not an object', malformed, [...notObjects, null, [], {}]),
  replace('spec: not an object', malformed, [...notObjects, null, [], {}]),
  replace('status: not an object', malformed, notObjects),
];

function replace(
  title: `${Section}: ${string}`,
  verdicts: readonly Verdict[],
  values: readonly unknown[],
): Change {
  const [section, name] = title.split(': ') as [Section, string];
  return {
    part: section,
    name,
    verdicts,
    object: (csr, random) => {
      csr[section] = random.pick(values) as Record<string, unknown>;
    },
  };
}

/** In groups, so that each section changes as often as the others. */
export const objectChanges: readonly (readonly Change[])[] = [
  metadataChanges,
  specChanges,
  [...statusChanges, ...wholeChanges],
];
