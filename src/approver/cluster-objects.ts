import * as v from 'valibot';
import { kubeletServingSigner } from '../core/certificate-spec.ts';
import { endpointSliceSchema, serviceCidrSchema, serviceSchema } from './cluster-schemas.ts';
import { ClusterView } from './cluster-view.ts';
import type { NodeSnapshot } from './node-snapshot.ts';
import { nodeSnapshotSchema } from './node-snapshot.ts';
import type { ServingCsr } from './serving-csr.ts';
import { servingCsrSchema } from './serving-csr.ts';
import type { Machine } from './sources/machine-source.ts';
import { machineSchema } from './sources/machine-source.ts';
import { keyDigestOf, nodeOf } from './watched-csr.ts';

/** Objects as they were at one moment, for commands that end. */
export interface ClusterObjects {
  readonly csrs: readonly ServingCsr[];
  readonly nodes: readonly NodeSnapshot[];
  readonly machines: readonly Machine[];
  readonly serviceCidrs: readonly string[];
  readonly kubernetesService: readonly string[];
  readonly apiServers: readonly string[];
}

/** An object of the API as JSON, and the place to name if it is malformed. */
export interface FoundObject {
  readonly kind: string;
  readonly value: unknown;
  readonly place: string;
}

/** Throws for a malformed object, with its place. */
export type ObjectParser = <T>(schema: v.GenericSchema<unknown, T>, found: FoundObject) => T;

const text = v.nullish(v.string(), '');

const identitySchema = v.object({
  metadata: v.object({
    name: text,
    namespace: text,
    labels: v.nullish(v.record(v.string(), v.string()), {}),
  }),
});

/** Sorts objects by their kind, and ignores objects that the checks do not use. */
export function clusterObjects(
  found: readonly FoundObject[],
  parseObject: ObjectParser,
): ClusterObjects {
  const all = <T>(kind: string, schema: v.GenericSchema<unknown, T>): T[] =>
    found
      .filter((object) => object.kind === kind && isUsed(object, parseObject))
      .map((object) => parseObject(schema, object));
  return {
    csrs: all('CertificateSigningRequest', servingCsrSchema),
    nodes: all('Node', nodeSnapshotSchema),
    machines: all('Machine', machineSchema),
    serviceCidrs: all('ServiceCIDR', serviceCidrSchema).flatMap(({ cidrs }) => cidrs),
    kubernetesService: all('Service', serviceSchema).flatMap(({ spec }) => spec.clusterIPs),
    apiServers: all('EndpointSlice', endpointSliceSchema).flatMap(({ addresses }) => addresses),
  };
}

/** Of all Services, only default/kubernetes matters. */
function isUsed(found: FoundObject, parseObject: ObjectParser): boolean {
  if (found.kind !== 'Service' && found.kind !== 'EndpointSlice') return true;
  const { metadata } = parseObject(identitySchema, found);
  const service =
    found.kind === 'Service' ? metadata.name : metadata.labels['kubernetes.io/service-name'];
  return metadata.namespace === 'default' && service === 'kubernetes';
}

/** Everything but the CSRs. */
export function viewOf(
  objects: ClusterObjects,
  controlPlaneEndpoint: string | undefined,
): ClusterView {
  const view = new ClusterView(controlPlaneEndpoint);
  for (const node of objects.nodes) view.nodes.put(node, node.createdAt);
  view.setServiceCidrs('', objects.serviceCidrs);
  view.setApiServers('', objects.apiServers);
  view.setKubernetesService(objects.kubernetesService);
  return view;
}

/** Makes the CSR known to the checks that compare CSRs. */
export function addCsr({ csrs }: ClusterView, csr: ServingCsr): void {
  const { name, createdAt, resourceVersion, signerName } = csr;
  const node = nodeOf(csr);
  if (node === undefined || signerName !== kubeletServingSigner) return;
  csrs.put({ name, node, createdAt, resourceVersion }, keyDigestOf(csr));
}
