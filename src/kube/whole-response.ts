import type { Dispatcher } from 'undici';
import type { Bounds } from './body.ts';
import { ByteBuffer } from './body.ts';

export interface WholeResponse {
  readonly statusCode: number;
  readonly headers: Dispatcher.ResponseData['headers'];
  readonly bytes: Buffer;
}

/**
 * Sends one request, and reads the whole response. undici's `request` would make a stream of each
 * response, with 15 MB more at the peak of 2,000 decisions of the approver.
 * @throws the reason of the signal; AgentError API_BAD_RESPONSE for a body over the limit; errors of undici
 */
export async function wholeResponse(
  dispatcher: Dispatcher,
  request: Dispatcher.DispatchOptions,
  { signal, ...bounds }: Bounds & { readonly signal: AbortSignal },
): Promise<WholeResponse> {
  signal.throwIfAborted();
  const receiver = new Receiver(bounds);
  const abort = (): void => {
    receiver.abort(signal.reason);
  };
  signal.addEventListener('abort', abort, { once: true });
  try {
    dispatcher.dispatch(request, receiver);
    return await receiver.response;
  } finally {
    signal.removeEventListener('abort', abort);
  }
}

/** What undici calls while it receives a response. An error that a method throws aborts the request. */
class Receiver implements Dispatcher.DispatchHandler {
  readonly #whole = Promise.withResolvers<WholeResponse>();
  readonly #body: ByteBuffer;
  #head: Omit<WholeResponse, 'bytes'> = { statusCode: 0, headers: {} };
  #controller: Dispatcher.DispatchController | undefined;
  #abortedWith: Error | undefined;

  constructor(bounds: Bounds) {
    this.#body = new ByteBuffer(bounds);
  }

  get response(): Promise<WholeResponse> {
    return this.#whole.promise;
  }

  abort(reason: Error): void {
    this.#abortedWith = reason;
    this.#controller?.abort(reason);
    this.#whole.reject(reason);
  }

  /** The connection is open. */
  onRequestStart(controller: Dispatcher.DispatchController): void {
    this.#controller = controller;
    if (this.#abortedWith !== undefined) controller.abort(this.#abortedWith);
  }

  onResponseStart(
    _: Dispatcher.DispatchController,
    statusCode: number,
    headers: WholeResponse['headers'],
  ): void {
    this.#head = { statusCode, headers };
  }

  onResponseData(_: Dispatcher.DispatchController, chunk: Buffer): void {
    this.#body.add(chunk);
  }

  onResponseEnd(): void {
    this.#whole.resolve({ ...this.#head, bytes: this.#body.take() });
  }

  onResponseError(_: Dispatcher.DispatchController, error: Error): void {
    this.#whole.reject(error);
  }
}
