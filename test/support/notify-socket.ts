import { mkdtempSync, rmSync } from 'node:fs';
import { dlopen } from 'node:ffi';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { socketAddress } from '../../src/sys/service-manager.ts';
import { scaled } from './machine-speed.ts';

const { functions } = dlopen('libc.so.6', {
  socket: { arguments: ['i32', 'i32', 'i32'], return: 'i32' },
  bind: { arguments: ['i32', 'buffer', 'u32'], return: 'i32' },
  recv: { arguments: ['i32', 'buffer', 'u64', 'i32'], return: 'i64' },
  close: { arguments: ['i32'], return: 'i32' },
});
const [unixFamily, datagram, dontWait] = [1, 2, 0x40];

/** The service manager's end of sd_notify(3). */
export class NotifySocket implements Disposable {
  /** For NOTIFY_SOCKET. */
  readonly path: string;
  readonly #directory: string | undefined;
  readonly #socket: number;
  readonly #received: string[] = [];

  /** @param abstract a name without a file, which begins with `@` */
  constructor(abstract?: string) {
    this.#directory =
      abstract === undefined ? mkdtempSync(join(tmpdir(), 'nodecertd-notify-')) : undefined;
    this.path = abstract ?? join(this.#directory ?? '', 'socket');
    const address = socketAddress(this.path);
    if (address === undefined) throw new Error(`${this.path} cannot be bound`);
    this.#socket = functions.socket(unixFamily, datagram, 0);
    if (functions.bind(this.#socket, address, address.length) !== 0) {
      throw new Error(`${this.path} could not be bound`);
    }
  }

  /** Every assignment received so far, in order. */
  get received(): readonly string[] {
    const buffer = Buffer.alloc(64 * 1024);
    for (;;) {
      const length = Number(functions.recv(this.#socket, buffer, BigInt(buffer.length), dontWait));
      if (length < 0) return this.#received;
      this.#received.push(...buffer.toString('utf8', 0, length).split('\n'));
    }
  }

  /** Waits for the first assignment that matches. */
  async until(pattern: RegExp): Promise<string> {
    const end = performance.now() + scaled(30_000);
    for (;;) {
      const found = this.received.find((assignment) => pattern.test(assignment));
      if (found !== undefined) return found;
      if (performance.now() > end) {
        throw new Error(`no message matches ${pattern}: ${this.received.join(' | ')}`);
      }
      await delay(10);
    }
  }

  [Symbol.dispose](): void {
    functions.close(this.#socket);
    if (this.#directory !== undefined) rmSync(this.#directory, { recursive: true });
  }
}
