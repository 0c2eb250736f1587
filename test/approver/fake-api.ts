import type * as v from 'valibot';
import type { AgentError } from '../../src/core/errors.ts';
import type { FollowEnvironment } from '../../src/kube/follow.ts';
import type { ApiRequest, StreamRequest } from '../../src/kube/rest-client.ts';
import { parseResponse } from '../../src/kube/rest-client.ts';
import { AgentError as ApiError } from '../../src/core/errors.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { dns, nodeSubject, requestPem } from './requests.ts';
import { generateKeyPairSync } from 'node:crypto';

type Json = Record<string, unknown>;

interface Stored {
  readonly collection: string;
  object: { metadata: Json & { name: string; resourceVersion: string }; status: Json };
}

/** A request that is not a watch: `update csr-1`, and when it arrived. */
export interface SeenRequest {
  readonly what: string;
  readonly at: number;
}

const csrs = '/apis/certificates.k8s.io/v1/certificatesigningrequests';
const nodes = '/api/v1/nodes';
const machineGroup = '/apis/cluster.x-k8s.io';

function isDiscovery(path: string): boolean {
  return path === '/apis' || path.startsWith(machineGroup);
}

/** An API server in memory, on a clock that the test moves. It answers at once. */
export class FakeApi {
  readonly clock = new FakeClock();
  readonly seen: SeenRequest[] = [];
  random = 0;
  /** Called before each answer; an error becomes the answer. */
  fault: (what: string) => AgentError | undefined = () => undefined;
  /** In which the API server has Machines. */
  machineVersions: readonly string[] = [];
  readonly #stored = new Map<string, Stored>();
  readonly #watches = new Set<{
    readonly path: string;
    readonly send: (line: Json) => void;
    readonly end: () => void;
  }>();
  #version = 100;

  get environment(): FollowEnvironment {
    const client = {
      access: {
        path: 'test',
        cluster: { server: 'https://api', insecureSkipTlsVerify: false },
        credential: {},
        [Symbol.dispose]: () => undefined,
      },
      request: <T>(request: ApiRequest, schema: v.GenericSchema<unknown, T>) =>
        this.#answer(request, schema),
      stream: (request: StreamRequest) => this.#stream(request),
    };
    return { client: () => client, clock: this.clock, random: () => this.random };
  }

  /** What was requested about this object, in order. */
  about(name: string): string[] {
    return this.seen.flatMap(({ what }) => (what.endsWith(` ${name}`) ? [what] : []));
  }

  addNode(name: string, parts: Json = {}): void {
    this.#put(nodes, {
      metadata: { name, uid: `uid-${name}`, creationTimestamp: this.#now },
      status: { addresses: [{ type: 'Hostname', address: name }] },
      ...parts,
    });
  }

  /** A Machine of the Node, in the namespace default. Its name is that of the Node. */
  setMachine(node: string, addresses: readonly string[], parts: Json = {}): void {
    this.#put(`${machineGroup}/${this.machineVersions[0] ?? ''}/machines`, {
      metadata: { name: node, namespace: 'default' },
      spec: { providerID: `test://${node}` },
      status: {
        nodeRef: { name: node },
        addresses: addresses.map((address) => ({ type: 'Hostname', address })),
      },
      ...parts,
    });
  }

  deleteMachine(name: string): void {
    const collection = `${machineGroup}/${this.machineVersions[0] ?? ''}/machines`;
    const { object } = this.#get(collection, name);
    this.#stored.delete(`${collection}/${name}`);
    this.#send(collection, { type: 'DELETED', object });
  }

  addCsr(name: string, node: string, metadata: Json = {}): void {
    const request = requestPem({
      keys: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
      subject: nodeSubject(`system:node:${node}`),
      altNames: [dns(node)],
    });
    this.#put(csrs, {
      metadata: { name, uid: `uid-${name}`, creationTimestamp: this.#now, ...metadata },
      spec: {
        request: Buffer.from(request).toString('base64'),
        signerName: 'kubernetes.io/kubelet-serving',
        username: `system:node:${node}`,
        groups: ['system:nodes', 'system:authenticated'],
        usages: ['digital signature', 'server auth'],
      },
      status: {},
    });
  }

  /** Stores conditions as another program does. `silently`: the watch does not send the change. */
  decide(name: string, type: string, how: 'silently' | 'visibly' = 'visibly'): void {
    const { object } = this.#get(csrs, name);
    const conditions = [{ type, status: 'True', reason: 'Person' }];
    this.#put(csrs, { ...object, status: { conditions } }, how);
  }

  delete(name: string, how: 'silently' | 'visibly'): void {
    const { object } = this.#get(csrs, name);
    this.#stored.delete(`${csrs}/${name}`);
    if (how === 'visibly') this.#send(csrs, { type: 'DELETED', object });
  }

  annotations(name: string): Readonly<Record<string, string>> {
    const { annotations = {} } = this.#get(csrs, name).object.metadata;
    return annotations as Record<string, string>;
  }

  conditions(name: string): unknown[] {
    const { conditions = [] } = this.#get(csrs, name).object.status as { conditions?: Json[] };
    return conditions.map(({ type }) => type);
  }

  get #now(): string {
    return new Date(this.clock.now()).toISOString();
  }

  #get(collection: string, name: string): Stored {
    const stored = this.#stored.get(`${collection}/${name}`);
    if (stored === undefined) throw new ApiError('API_NOT_FOUND', `no ${name}`);
    return stored;
  }

  #put(collection: string, object: Json, how: 'silently' | 'visibly' = 'visibly'): Json {
    this.#version += 1;
    const { metadata } = object as { metadata: Json & { name: string } };
    const stored = {
      status: {},
      ...object,
      metadata: { ...metadata, resourceVersion: String(this.#version) },
    };
    const key = `${collection}/${metadata.name}`;
    const type = this.#stored.has(key) ? 'MODIFIED' : 'ADDED';
    this.#stored.set(key, { collection, object: stored });
    if (how === 'visibly') this.#send(collection, { type, object: stored });
    return stored;
  }

  #send(collection: string, event: Json): void {
    for (const { path, send } of this.#watches) if (path === collection) send(event);
  }

  async #answer<T>(request: ApiRequest, schema: v.GenericSchema<unknown, T>): Promise<T> {
    const { verb, path, signal } = request;
    const name =
      path
        .replace(/\/approval$/, '')
        .split('/')
        .at(-1) ?? '';
    const what = `${verb} ${name}`;
    if (signal.aborted) throw new ApiError('ABORTED', what);
    if (name !== 'kubernetes' && name !== 'events' && !isDiscovery(path)) {
      this.seen.push({ what, at: this.clock.elapsed() });
    }
    const error = this.fault(what);
    if (error !== undefined) throw error;
    return parseResponse(schema, this.#respond(request, name), what);
  }

  #respond({ verb, path, body, query }: ApiRequest, name: string): unknown {
    if (name === 'kubernetes') return { spec: { clusterIPs: ['10.96.0.1'] } };
    if (name === 'events') return {};
    if (isDiscovery(path)) return this.#discover(name);
    if (verb === 'get') return this.#get(path.slice(0, path.lastIndexOf('/')), name).object;
    const { object } = this.#get(csrs, name);
    const { metadata, status } = body as { metadata: Json; status: Json };
    if (metadata['resourceVersion'] !== object.metadata.resourceVersion) {
      throw new ApiError('API_CONFLICT', 'the object has been modified');
    }
    if (query?.['dryRun'] === 'All') return { ...object, status };
    return this.#put(csrs, { ...object, metadata, status });
  }

  #discover(name: string): unknown {
    const versions = this.machineVersions;
    if (versions.includes(name)) return { resources: [{ name: 'machines' }] };
    const group = {
      name: 'cluster.x-k8s.io',
      versions: versions.map((version) => ({ version })),
    };
    return { groups: versions.length === 0 ? [] : [group] };
  }

  /** Ends every watch of this resource, as a server does that is shut down. */
  endWatches(resource: string): void {
    for (const { path, end } of this.#watches) if (path.endsWith(`/${resource}`)) end();
  }

  async *#stream({ path, signal, onOpen }: StreamRequest): AsyncGenerator<Uint8Array, void, void> {
    const error = this.fault(`watch ${path.split('/').at(-1)}`);
    if (error !== undefined) throw error;
    onOpen?.();
    const lines: Json[] = [...this.#stored.values()]
      .filter(({ collection }) => collection === path)
      .map(({ object }) => ({ type: 'ADDED', object }));
    const annotations = { 'k8s.io/initial-events-end': 'true' };
    const metadata = { resourceVersion: String(this.#version), annotations };
    lines.push({ type: 'BOOKMARK', object: { metadata } });
    let wake = Promise.withResolvers<void>();
    let ended = false;
    const watch = {
      path,
      end: () => {
        ended = true;
        wake.resolve();
      },
      send: (line: Json) => {
        lines.push(line);
        wake.resolve();
      },
    };
    this.#watches.add(watch);
    signal.addEventListener('abort', () => {
      wake.resolve();
    });
    try {
      for (;;) {
        for (const line of lines.splice(0)) yield Buffer.from(`${JSON.stringify(line)}\n`);
        await wake.promise;
        wake = Promise.withResolvers();
        if (signal.aborted) throw new ApiError('ABORTED', 'the watch was canceled');
        if (ended) return;
      }
    } finally {
      this.#watches.delete(watch);
    }
  }
}
