import assert from 'node:assert/strict';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { json } from 'node:stream/consumers';
import type { ControlPlaneAnnotation } from '../../../src/core/control-plane-annotation.ts';
import {
  controlPlaneAnnotationKey,
  formatControlPlaneAnnotation,
  parseControlPlaneAnnotation,
} from '../../../src/core/control-plane-annotation.ts';
import type { KubeClient } from '../../../src/kube/rest-client.ts';
import type { KubernetesDirectories } from '../../../src/pki/layout.ts';
import { systemClock } from '../../../src/sys/clock.ts';
import { Tree } from '../../../src/sys/tree.ts';
import type { StepRequest } from '../../../src/trust/control-plane/step-plan.ts';
import type { CaName } from '../../../src/trust/control-plane/task.ts';
import { ApiServer, clientOf, sendJson } from '../../kube/support/api-server.ts';

interface NodeObject {
  readonly metadata: { readonly annotations: Readonly<Record<string, string>> };
}

/** An API server with one control-plane Node, cp1, which stores the reports of steps. */
export class AnnotatedNode implements AsyncDisposable {
  /** The newest last. */
  readonly reports: ControlPlaneAnnotation[];
  readonly #server: ApiServer;
  readonly #client: KubeClient;

  private constructor(server: ApiServer, client: KubeClient, reports: ControlPlaneAnnotation[]) {
    this.#server = server;
    this.#client = client;
    this.reports = reports;
  }

  /** @param reports before the first step */
  static async start(...reports: ControlPlaneAnnotation[]): Promise<AnnotatedNode> {
    const server = await ApiServer.start((request, response) => {
      if (request.method === 'PATCH') void store(reports, request, response);
      else sendJson(response, { items: [nodeWith(reports.at(-1))] });
    });
    return new AnnotatedNode(server, await clientOf(server), reports);
  }

  /** A step on this node. */
  request(ca: CaName, directories: KubernetesDirectories): StepRequest {
    return {
      ca,
      client: this.#client,
      hostName: 'cp1',
      addresses: new Set(),
      tree: new Tree('/'),
      directories,
      clock: systemClock,
      version: '0.0.0',
      signal: new AbortController().signal,
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client.close();
    await this.#server[Symbol.asyncDispose]();
  }
}

async function store(
  reports: ControlPlaneAnnotation[],
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const { metadata } = (await json(request)) as NodeObject;
  const report = parseControlPlaneAnnotation(metadata.annotations[controlPlaneAnnotationKey] ?? '');
  assert.ok(report !== undefined);
  reports.push(report);
  sendJson(response, nodeWith(report));
}

function nodeWith(report: ControlPlaneAnnotation | undefined): NodeObject & {
  readonly metadata: { readonly name: string };
} {
  const annotations =
    report === undefined
      ? {}
      : { [controlPlaneAnnotationKey]: formatControlPlaneAnnotation(report) };
  return { metadata: { name: 'cp1', annotations } };
}
