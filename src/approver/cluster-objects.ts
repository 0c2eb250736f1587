import * as v from 'valibot';
import { kubeletServingSigner } from '../core/certificate-spec.ts';
import type { Cidr, IpBytes } from '../core/cidr.ts';
import { parseCidr, parseIp } from '../core/cidr.ts';
import type { Instant } from '../core/instant.ts';
import { nodeOfUser } from '../core/node-name.ts';
import { compareAge } from './csr-order.ts';
import type { CsrLookup, CsrReference, Facts, FreshNode, Source } from './facts.ts';
import { NodeIndex } from './node-index.ts';
import type { NodeSnapshot } from './node-snapshot.ts';
import { nodeSnapshotSchema } from './node-snapshot.ts';
import { readRequest } from './request/read-request.ts';
import type { ServingCsr } from './serving-csr.ts';
import { servingCsrSchema } from './serving-csr.ts';
import type { Machine, MachineLookup } from './sources/machine-source.ts';
import { machineSchema } from './sources/machine-source.ts';

/** Objects as they were at one moment, for commands that end. */
export interface ClusterObjects {
  readonly csrs: readonly ServingCsr[];
  readonly nodes: readonly NodeSnapshot[];
  readonly machines: readonly Machine[];
  readonly serviceCidrs: readonly Cidr[];
  readonly kubernetesService: readonly IpBytes[];
  readonly apiServers: readonly IpBytes[];
}

/** An object of the API as JSON, and the place to name if it is malformed. */
export interface FoundObject {
  readonly kind: string;
  readonly value: unknown;
  readonly place: string;
}

const texts = v.nullish(v.array(v.string()), []);
const named = { name: v.nullish(v.string(), ''), namespace: v.nullish(v.string(), '') };

const serviceSchema = v.object({
  metadata: v.object(named),
  spec: v.object({ clusterIPs: texts }),
});

const endpointSliceSchema = v.object({
  metadata: v.object({
    ...named,
    labels: v.nullish(v.record(v.string(), v.string()), {}),
  }),
  endpoints: v.nullish(v.array(v.object({ addresses: texts })), []),
});

const serviceCidrSchema = v.object({ spec: v.nullish(v.object({ cidrs: texts }), {}) });

/** Throws for a malformed object, with its place. */
export type ObjectParser = <T>(schema: v.GenericSchema<unknown, T>, found: FoundObject) => T;

/** Sorts objects by their kind, and ignores kinds that the checks do not use. */
export function clusterObjects(
  found: readonly FoundObject[],
  parseObject: ObjectParser,
): ClusterObjects {
  const all = <T>(kind: string, schema: v.GenericSchema<unknown, T>): T[] =>
    found.filter((object) => object.kind === kind).map((object) => parseObject(schema, object));
  return {
    csrs: all('CertificateSigningRequest', servingCsrSchema),
    nodes: all('Node', nodeSnapshotSchema),
    machines: all('Machine', machineSchema),
    serviceCidrs: all('ServiceCIDR', serviceCidrSchema)
      .flatMap(({ spec }) => spec.cidrs)
      .flatMap((text) => parseCidr(text) ?? []),
    kubernetesService: all('Service', serviceSchema)
      .filter(({ metadata }) => isKubernetes(metadata))
      .flatMap(({ spec }) => spec.clusterIPs.flatMap((text) => parseIp(text) ?? [])),
    apiServers: all('EndpointSlice', endpointSliceSchema)
      .filter(({ metadata }) =>
        isKubernetes({ ...metadata, name: metadata.labels['kubernetes.io/service-name'] ?? '' }),
      )
      .flatMap(({ endpoints }) => endpoints.flatMap(({ addresses }) => addresses))
      .flatMap((text) => parseIp(text) ?? []),
  };
}

function isKubernetes({ name, namespace }: { name: string; namespace: string }): boolean {
  return namespace === 'default' && name === 'kubernetes';
}

export interface FactsOptions {
  readonly sources: readonly Source[];
  readonly controlPlaneEndpoint: string | undefined;
  readonly freshNode: FreshNode;
  /** Ignores CSRs that were created later. */
  readonly until: Instant;
}

export function factsOfObjects(objects: ClusterObjects, options: FactsOptions): Facts {
  const { sources, controlPlaneEndpoint, freshNode, until } = options;
  const { serviceCidrs, kubernetesService, apiServers } = objects;
  const nodes = new NodeIndex();
  for (const node of objects.nodes) nodes.put(node, until);
  return {
    nodes,
    freshNode,
    csrs: lookupOf(objects.csrs.filter(({ createdAt }) => createdAt <= until)),
    cluster: { serviceCidrs, kubernetesService, apiServers, controlPlaneEndpoint },
    sources,
  };
}

/** Searches the whole list for each question, because a command asks few. */
function lookupOf(csrs: readonly ServingCsr[]): CsrLookup {
  const own = csrs.filter(({ signerName }) => signerName === kubeletServingSigner);
  return {
    newest: (node) =>
      own
        .flatMap(referenceOf)
        .filter((reference) => reference.node === node)
        .toSorted(compareAge)
        .at(-1),
    keyUses: (digest) => own.filter((csr) => keyDigestOf(csr) === digest).flatMap(referenceOf),
  };
}

function referenceOf({ name, username, createdAt, resourceVersion }: ServingCsr): CsrReference[] {
  const node = nodeOfUser(username);
  return node === undefined ? [] : [{ name, node, createdAt, resourceVersion }];
}

const digests = new WeakMap<ServingCsr, string>();

function keyDigestOf(csr: ServingCsr): string {
  const known = digests.get(csr);
  if (known !== undefined) return known;
  const reading = readRequest(csr.request);
  const digest = reading.kind === 'read' ? reading.request.keyDigest : '';
  digests.set(csr, digest);
  return digest;
}

export function machineLookup(machines: readonly Machine[]): MachineLookup {
  const version = machines
    .map(({ resourceVersion }) => resourceVersion)
    .toSorted()
    .at(-1);
  return {
    version: version ?? '0',
    ofNode: (name) => machines.filter(({ nodeName }) => nodeName === name),
  };
}
