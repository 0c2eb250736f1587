import type { InventoryConfig } from '../core/config.ts';
import { second } from '../core/instant.ts';
import type { Clock } from '../sys/clock.ts';
import type { Logger } from '../sys/log.ts';
import type { OwnCommandEnd } from './own-command.ts';

export interface InventoryScansOptions {
  /** The nodecertd program: an absolute path and its first arguments. */
  readonly program: readonly string[];
  readonly clock: Clock;
  readonly logger: Logger;
}

/** The series of the last complete scan, and how often the agent scans. */
export interface ExportedInventory {
  /** Empty until the first scan is complete. */
  readonly text: string;
  readonly intervalSeconds: number;
}

/** Scans the certificates of this machine at an interval. Nothing waits for a scan. */
export class InventoryScans implements Disposable {
  readonly #options: InventoryScansOptions;
  #intervalSeconds: number | undefined;
  #text = '';
  #failure: string | undefined;
  #stop = new AbortController();
  #scanning: Promise<void> = Promise.resolve();

  constructor(options: InventoryScansOptions) {
    this.#options = options;
  }

  /** Undefined while the inventory is disabled. */
  get exported(): ExportedInventory | undefined {
    const intervalSeconds = this.#intervalSeconds;
    return intervalSeconds === undefined ? undefined : { text: this.#text, intervalSeconds };
  }

  /** Applies a configuration, and scans at once if the inventory is enabled. */
  apply(config: InventoryConfig): void {
    this.#stop.abort();
    this.#stop = new AbortController();
    this.#intervalSeconds = config.enabled ? config.intervalSeconds : undefined;
    if (!config.enabled) {
      this.#text = '';
      return;
    }
    const { signal } = this.#stop;
    // The command of the previous configuration ends first.
    this.#scanning = this.#scanning.then(() => this.#repeat(config, signal));
  }

  [Symbol.dispose](): void {
    this.#stop.abort();
  }

  async #repeat(config: InventoryConfig, signal: AbortSignal): Promise<void> {
    const { program, clock } = this.#options;
    // Loaded only here, because most agents have no inventory.
    const { scanInventory } = await import('./inventory-scan.ts');
    while (!signal.aborted) {
      const scan = await scanInventory({ program, paths: config.paths, clock, signal });
      if (!signal.aborted) this.#record(scan);
      await clock.sleep(config.intervalSeconds * second, signal).catch(() => undefined);
    }
  }

  /** Logs each new failure once, and its end. */
  #record(scan: OwnCommandEnd): void {
    const { logger } = this.#options;
    if (scan.kind === 'complete') {
      this.#text = scan.text;
      if (this.#failure !== undefined) logger.log('inventory_scan_recovered');
      this.#failure = undefined;
      return;
    }
    if (scan.reason !== this.#failure) {
      const error = `nodecertd certs check-expiration ${scan.reason}`;
      logger.log('inventory_scan_failed', { error, remedy });
    }
    this.#failure = scan.reason;
  }
}

const remedy =
  'Run nodecertd certs check-expiration as root, and correct the error that it reports';
