import type { Failure } from '../core/errors.ts';
import { toFailure } from '../core/errors.ts';
import { minute } from '../core/instant.ts';
import { kubeletServingSigner } from '../core/certificate-spec.ts';
import { reflectorDelay } from '../core/timing.ts';
import type { FollowEnvironment } from '../kube/follow.ts';
import type { NamedObject, Reflection, ReflectorOptions } from '../kube/reflector.ts';
import { Reflector } from '../kube/reflector.ts';
import { endpointSliceSchema, serviceCidrSchema, serviceSchema } from './cluster-schemas.ts';
import type { ClusterView } from './cluster-view.ts';
import type { NodeSnapshot } from './node-snapshot.ts';
import { nodeSnapshotSchema } from './node-snapshot.ts';
import type { WatchedCsr } from './watched-csr.ts';
import { csrCollection, watchedCsrSchema } from './watched-csr.ts';

/** What the approver watches or reads, by the names of RBAC. */
export const watchedResources = [
  'certificatesigningrequests',
  'nodes',
  'servicecidrs',
  'endpointslices',
  'services',
] as const;
export type WatchedResource = (typeof watchedResources)[number];

/** The Service of the API server, the only one that the approver may read. */
export const kubernetesServicePath = '/api/v1/namespaces/default/services/kubernetes';

type ObjectReceiver<T extends NamedObject> = Omit<Reflection<T>, 'synced' | 'outdated'>;

export interface ClusterWatchOptions {
  readonly environment: FollowEnvironment;
  readonly view: ClusterView;
  readonly csrs: ObjectReceiver<WatchedCsr>;
  readonly nodes: ObjectReceiver<NodeSnapshot>;
  /** An address of the control plane or a range of Services changed. */
  readonly onClusterChanged: () => void;
  /** The copy has every change so far. */
  readonly onSynced: (resource: WatchedResource) => void;
  /** Changes may be missing until the copy is synced again. */
  readonly onOutdated: (resource: WatchedResource) => void;
  /** Called for each failure; the watch continues. */
  readonly onRetry: (resource: WatchedResource, failure: Failure) => void;
  /** Called at the first response after failures. */
  readonly onRecovered: (resource: WatchedResource) => void;
}

/** One task for each resource; only the signal ends them. */
export function clusterWatches(
  options: ClusterWatchOptions,
): readonly ((signal: AbortSignal) => Promise<never>)[] {
  const { view } = options;
  return [
    reflect(options, 'certificatesigningrequests', {
      path: csrCollection,
      fieldSelector: `spec.signerName=${kubeletServingSigner}`,
      schema: watchedCsrSchema,
      reflection: options.csrs,
    }),
    reflect(options, 'nodes', {
      path: '/api/v1/nodes',
      schema: nodeSnapshotSchema,
      reflection: options.nodes,
    }),
    reflect(options, 'servicecidrs', {
      path: '/apis/networking.k8s.io/v1/servicecidrs',
      schema: serviceCidrSchema,
      reflection: {
        names: () => view.serviceCidrNames(),
        set: ({ name, cidrs }) => {
          view.setServiceCidrs(name, cidrs);
          options.onClusterChanged();
        },
        delete: (name) => {
          view.setServiceCidrs(name, undefined);
          options.onClusterChanged();
        },
      },
    }),
    reflect(options, 'endpointslices', {
      path: '/apis/discovery.k8s.io/v1/namespaces/default/endpointslices',
      labelSelector: 'kubernetes.io/service-name=kubernetes',
      schema: endpointSliceSchema,
      reflection: {
        names: () => view.endpointSliceNames(),
        set: ({ name, addresses }) => {
          view.setApiServers(name, addresses);
          options.onClusterChanged();
        },
        delete: (name) => {
          view.setApiServers(name, undefined);
          options.onClusterChanged();
        },
      },
    }),
    (signal) => readKubernetesService(options, signal),
  ];
}

type Reflected<T extends NamedObject> = Omit<
  ReflectorOptions<T>,
  'reflection' | 'onRetry' | 'onRecovered'
> & { readonly reflection: ObjectReceiver<T> };

function reflect<T extends NamedObject>(
  { environment, onSynced, onOutdated, onRetry, onRecovered }: ClusterWatchOptions,
  resource: WatchedResource,
  { reflection, ...target }: Reflected<T>,
): (signal: AbortSignal) => Promise<never> {
  const reflector = new Reflector<T>(environment, {
    ...target,
    reflection: {
      names: () => reflection.names(),
      set: (object) => {
        reflection.set(object);
      },
      delete: (name) => {
        reflection.delete(name);
      },
      synced: () => {
        onSynced(resource);
      },
      outdated: () => {
        onOutdated(resource);
      },
    },
    onRetry: (failure) => {
      // API servers before 1.33 have no ServiceCIDRs.
      const isUnknown = resource === 'servicecidrs' && failure.code === 'API_NOT_FOUND';
      if (isUnknown) onSynced(resource);
      else onRetry(resource, failure);
    },
    onRecovered: () => {
      onRecovered(resource);
    },
  });
  return (signal) => reflector.run(signal);
}

/** The addresses of this Service never change, so a read from time to time is enough. */
async function readKubernetesService(
  {
    environment,
    view,
    onSynced,
    onOutdated,
    onRetry,
    onRecovered,
    onClusterChanged,
  }: ClusterWatchOptions,
  signal: AbortSignal,
): Promise<never> {
  const { client, clock, random } = environment;
  for (let failures = 0; ;) {
    try {
      const request = { verb: 'get', path: kubernetesServicePath, signal } as const;
      const { spec } = await client().request(request, serviceSchema);
      view.setKubernetesService(spec.clusterIPs);
      onClusterChanged();
      if (failures > 0) onRecovered('services');
      failures = 0;
      onSynced('services');
      await clock.sleep(serviceInterval, signal);
    } catch (error) {
      if (signal.aborted) throw error;
      failures += 1;
      const failure = toFailure(error);
      onOutdated('services');
      onRetry('services', failure);
      await clock.sleep(reflectorDelay(failures, failure.retryAfterMs ?? 0, random()), signal);
    }
  }
}

const serviceInterval = 10 * minute;
