import type { Resource } from './api-object.ts';
import { groupVersion, resources } from './api-object.ts';

/** Answers to the paths that are no objects: enough for kubectl and client-go to find their way. */
export function pathResponse(path: string): string | object {
  switch (path) {
    case '/version':
      return version;
    case '/api':
      return { kind: 'APIVersions', versions: ['v1'], serverAddressByClientCIDRs: [] };
    case '/apis':
      return { kind: 'APIGroupList', apiVersion: 'v1', groups: groups.map(apiGroup) };
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

const groups: readonly string[] = [
  ...new Set(resources.map((resource) => resource.group).filter((group) => group !== '')),
];

function discovered(path: string): object | undefined {
  const group = groups.find((candidate) => path === `/apis/${candidate}`);
  if (group !== undefined) return { kind: 'APIGroup', apiVersion: 'v1', ...apiGroup(group) };
  const members = resources.filter(
    (resource) => path === `/${resource.group === '' ? 'api' : 'apis'}/${groupVersion(resource)}`,
  );
  const [first] = members;
  if (first === undefined) return undefined;
  return {
    kind: 'APIResourceList',
    apiVersion: 'v1',
    groupVersion: groupVersion(first),
    resources: members.flatMap(resourceEntries),
  };
}

function apiGroup(name: string): object {
  const versions = resources
    .filter((resource) => resource.group === name)
    .map((resource) => ({ groupVersion: groupVersion(resource), version: resource.version }));
  return { name, versions, preferredVersion: versions[0] };
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
