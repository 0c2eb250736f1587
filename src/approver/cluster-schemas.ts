import * as v from 'valibot';

/** The fields that the checks use of the objects behind ClusterFacts. */

const metadata = v.object({ name: v.string(), resourceVersion: v.string() });
const texts = v.nullish(v.array(v.string()), []);

/** A networking.k8s.io/v1 ServiceCIDR. */
export const serviceCidrSchema = v.pipe(
  v.object({ metadata, spec: v.nullish(v.object({ cidrs: texts }), {}) }),
  v.transform((object) => ({ ...object.metadata, cidrs: object.spec.cidrs })),
);

/** A discovery.k8s.io/v1 EndpointSlice. */
export const endpointSliceSchema = v.pipe(
  v.object({ metadata, endpoints: v.nullish(v.array(v.object({ addresses: texts })), []) }),
  v.transform((object) => ({
    ...object.metadata,
    addresses: object.endpoints.flatMap(({ addresses }) => addresses),
  })),
);

/** A core/v1 Service. */
export const serviceSchema = v.object({ spec: v.object({ clusterIPs: texts }) });
