import type { Resource } from './api-object.ts';
import { groupVersion, resources } from './api-object.ts';
import { pluralOf, reviews } from './reviews.ts';

/** Answers to the paths that are no objects: enough for kubectl and client-go to find their way. */
export function pathResponse(path: string): string | object {
  switch (path) {
    case '/version':
      return version;
    case '/api':
      return { kind: 'APIVersions', versions: ['v1'], serverAddressByClientCIDRs: [] };
    case '/apis':
      return {
        kind: 'APIGroupList',
        apiVersion: 'v1',
        groups: groups.filter(({ name }) => name !== '').map(apiGroup),
      };
    default:
      return discovered(path) ?? 'ok';
  }
}

/** The release whose rules the sandbox follows; clients compare it with their own. */
const version = {
  major: '1',
  minor: '37',
  gitVersion: 'v1.37.0+nodecertd-sandbox',
  platform: 'linux/amd64',
};

/** What a group has: resources of the sandbox, or reviews. */
interface Group {
  readonly name: string;
  readonly version: string;
  readonly entries: readonly object[];
}

const secretEntry = {
  name: 'secrets',
  singularName: 'secret',
  namespaced: true,
  kind: 'Secret',
  verbs: ['get'],
};

const groups: readonly Group[] = [
  ...Map.groupBy(resources, groupVersion).values().map(groupOfResources),
  ...reviews.map(({ group, kind }) => ({
    name: group,
    version: 'v1',
    entries: [reviewEntry(kind)],
  })),
];

function groupOfResources(members: readonly Resource[]): Group {
  const { group: name = '', version = '' } = members[0] ?? {};
  const entries = members.flatMap(resourceEntries);
  return { name, version, entries: name === '' ? [...entries, secretEntry] : entries };
}

function reviewEntry(kind: (typeof reviews)[number]['kind']): object {
  const name = pluralOf(kind);
  return { name, singularName: kind.toLowerCase(), namespaced: false, kind, verbs: ['create'] };
}

function discovered(path: string): object | undefined {
  const group = groups.find(({ name }) => name !== '' && path === `/apis/${name}`);
  if (group !== undefined) return { kind: 'APIGroup', apiVersion: 'v1', ...apiGroup(group) };
  const found = groups.find(({ name, version }) => path === groupPath(name, version));
  if (found === undefined) return undefined;
  return {
    kind: 'APIResourceList',
    apiVersion: 'v1',
    groupVersion: versionOf(found),
    resources: found.entries,
  };
}

function groupPath(name: string, version: string): string {
  return name === '' ? `/api/${version}` : `/apis/${name}/${version}`;
}

function versionOf({ name, version }: Group): string {
  return name === '' ? version : `${name}/${version}`;
}

function apiGroup(group: Group): object {
  const served = { groupVersion: versionOf(group), version: group.version };
  return { name: group.name, versions: [served], preferredVersion: served };
}

function resourceEntries(resource: Resource): object[] {
  const common = { namespaced: false, kind: resource.kind };
  return [
    {
      ...common,
      name: resource.plural,
      singularName: resource.singular,
      shortNames: [resource.shortName],
      verbs: ['create', 'delete', 'get', 'list', 'patch', 'update', 'watch'],
    },
    ...resource.subresources.map((subresource) => ({
      ...common,
      name: `${resource.plural}/${subresource}`,
      singularName: '',
      verbs: ['get', 'patch', 'update'],
    })),
  ];
}
