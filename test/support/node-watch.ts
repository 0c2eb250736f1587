import type { ApiClient } from './api-client.ts';

/** The used fields of a core/v1 Node. */
interface NodeEvent {
  readonly object: {
    readonly status?: {
      readonly conditions?: readonly { readonly type: string; readonly status: string }[];
    };
  };
}

/** Follows the Ready condition of a Node. */
export class NodeWatch implements AsyncDisposable {
  /** Values of the condition other than True, after it was True once. */
  readonly unready: string[] = [];
  #ready = false;
  #watching = true;
  readonly #end = new AbortController();
  readonly #following: Promise<void>;

  constructor(admin: ApiClient, nodeName: string) {
    this.#following = this.#follow(admin, nodeName)
      .catch(() => undefined)
      .finally(() => {
        this.#watching = false;
      });
  }

  get ready(): boolean {
    return this.#ready;
  }

  /** Whether the watch is still running, so that `unready` is complete. */
  get watching(): boolean {
    return this.#watching;
  }

  async #follow(admin: ApiClient, nodeName: string): Promise<void> {
    const path = `/api/v1/nodes?watch=true&fieldSelector=metadata.name%3D${nodeName}`;
    for await (const event of admin.watch(path, this.#end.signal)) {
      const { conditions = [] } = (event as NodeEvent).object.status ?? {};
      const status = conditions.find(({ type }) => type === 'Ready')?.status ?? 'absent';
      if (this.#ready && status !== 'True') this.unready.push(status);
      this.#ready ||= status === 'True';
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#end.abort();
    await this.#following;
  }
}
