import type { Instant } from '../../src/core/instant.ts';
import { formatDuration } from '../../src/core/instant.ts';
import type { ApiObject, CsrObject, NodeObject, Resource } from './api-object.ts';
import { csrResource, hasCondition } from './api-object.ts';

/** True when a client would rather have rows to print, as `kubectl get` does. */
export function wantsTable(accept: string | undefined): boolean {
  return accept?.split(',').some((part) => /;as=Table;v=v1;g=meta\.k8s\.io/.test(part)) ?? false;
}

export interface TableRequest {
  readonly resource: Resource;
  readonly objects: readonly ApiObject[];
  readonly resourceVersion: string;
  readonly now: Instant;
}

/** Objects as a meta.k8s.io/v1 Table with the columns that `kubectl get` shows upstream. */
export function toTable({ resource, objects, resourceVersion, now }: TableRequest): object {
  const columns = resource === csrResource ? csrColumns : nodeColumns;
  return {
    kind: 'Table',
    apiVersion: 'meta.k8s.io/v1',
    metadata: { resourceVersion },
    columnDefinitions: columns.map(([name]) => ({
      name,
      type: 'string',
      format: name === 'Name' ? 'name' : '',
      description: '',
      priority: 0,
    })),
    rows: objects.map((object) => ({
      cells: columns.map(([, cell]) => cell(object, now)),
      object: {
        kind: 'PartialObjectMetadata',
        apiVersion: 'meta.k8s.io/v1',
        metadata: object.metadata,
      },
    })),
  };
}

type Column = readonly [name: string, cell: (object: ApiObject, now: Instant) => string];

const none = '<none>';

const name: Column = ['Name', (object) => object.metadata.name];
const age: Column = [
  'Age',
  (object, now) =>
    formatDuration(now - Date.parse(object.metadata.creationTimestamp)).replace(' ', ''),
];

const csrColumns: readonly Column[] = [
  name,
  age,
  ['SignerName', (object) => (isCsr(object) ? object.spec.signerName : none)],
  ['Requestor', (object) => (isCsr(object) ? object.spec.username : none)],
  [
    'RequestedDuration',
    (object) =>
      isCsr(object) && object.spec.expirationSeconds !== undefined
        ? formatDuration(object.spec.expirationSeconds * 1000).replace(' ', '')
        : none,
  ],
  ['Condition', (object) => (isCsr(object) ? conditionText(object) : none)],
];

const nodeColumns: readonly Column[] = [
  name,
  age,
  [
    'Addresses',
    (object) => {
      const addresses = (object as NodeObject).status['addresses'];
      return Array.isArray(addresses)
        ? addresses.map(({ address }: { address: string }) => address).join(',')
        : none;
    },
  ],
];

function isCsr(object: ApiObject): object is CsrObject {
  return object.kind === csrResource.kind;
}

/** `Approved,Issued`, `Pending`, `Approved,Failed`: the decision first, then what became of it. */
function conditionText(csr: CsrObject): string {
  const decision = hasCondition(csr, 'Denied')
    ? 'Denied'
    : hasCondition(csr, 'Approved')
      ? 'Approved'
      : 'Pending';
  return [
    decision,
    ...(hasCondition(csr, 'Failed') ? ['Failed'] : []),
    ...(csr.status.certificate === undefined ? [] : ['Issued']),
  ].join(',');
}
