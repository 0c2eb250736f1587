import type { IncomingMessage, ServerResponse } from 'node:http';
import { ApiServer, sendJson } from './api-server.ts';

export interface CsrParts {
  /** The annotation of nodecertd approver. */
  readonly note?: object;
  readonly uid?: string;
  readonly version?: number;
  readonly conditions?: readonly Record<string, unknown>[];
  readonly certificate?: string;
  readonly request?: string;
  readonly signerName?: string;
}

export const requestPem =
  '-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n';
export const certificatePem = '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n';
export const approved = { type: 'Approved', status: 'True', reason: 'AutoApproved' };

export function csrObject(parts: CsrParts = {}): Record<string, unknown> {
  return {
    apiVersion: 'certificates.k8s.io/v1',
    kind: 'CertificateSigningRequest',
    metadata: {
      name: 'csr-1',
      uid: parts.uid ?? 'uid-1',
      resourceVersion: String(parts.version ?? 10),
      creationTimestamp: '2026-01-01T00:00:00Z',
      ...(parts.note && { annotations: { 'nodecertd.io/approver': JSON.stringify(parts.note) } }),
    },
    spec: {
      request: Buffer.from(parts.request ?? requestPem).toString('base64'),
      signerName: parts.signerName ?? 'example.com/signer',
    },
    status: {
      ...(parts.conditions && { conditions: parts.conditions }),
      ...(parts.certificate && { certificate: Buffer.from(parts.certificate).toString('base64') }),
    },
  };
}

export function gone(): Record<string, unknown> {
  return {
    type: 'ERROR',
    object: { kind: 'Status', apiVersion: 'v1', code: 410, reason: 'Expired' },
  };
}

/** An open watch, whose events a test sends. */
export interface OpenWatch {
  readonly url: URL;
  readonly response: ServerResponse;
  send(...events: readonly unknown[]): void;
}

/**
 * The certificates API as one client sees it. The test answers GET and POST, and sends the
 * events of each watch.
 */
export class CertificatesApi implements AsyncDisposable {
  readonly server: ApiServer;
  /** Called for each request except watches. */
  answer: (request: IncomingMessage, response: ServerResponse) => void = (_, response) => {
    sendJson(response, csrObject());
  };
  readonly #waiting: ((watch: OpenWatch) => void)[] = [];
  readonly #opened: OpenWatch[] = [];
  /** `POST`, `GET` or `WATCH@version`, in order. */
  readonly log: string[] = [];

  private constructor(server: ApiServer) {
    this.server = server;
    server.handler = (request, response) => {
      this.#handle(request, response);
    };
  }

  static async start(): Promise<CertificatesApi> {
    return new CertificatesApi(await ApiServer.start(() => {}));
  }

  /** The next watch that a client opens. */
  async watch(): Promise<OpenWatch> {
    const opened = this.#opened.shift();
    if (opened !== undefined) return opened;
    return await new Promise((resolve) => {
      this.#waiting.push(resolve);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server[Symbol.asyncDispose]();
  }

  #handle(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? '', this.server.url);
    if (url.searchParams.get('watch') !== 'true') {
      this.log.push(request.method ?? '');
      this.answer(request, response);
      return;
    }
    this.log.push(`WATCH@${url.searchParams.get('resourceVersion')}`);
    response.writeHead(200, { 'content-type': 'application/json' });
    response.flushHeaders();
    const watch: OpenWatch = {
      url,
      response,
      send: (...events) => {
        for (const event of events) response.write(`${JSON.stringify(event)}\n`);
      },
    };
    const next = this.#waiting.shift();
    if (next === undefined) this.#opened.push(watch);
    else next(watch);
  }
}
