import { readFileSync, readdirSync } from 'node:fs';
import type { AgentStatus } from '../core/status.ts';
import { second } from '../core/instant.ts';
import type { Registry } from './prom-client.ts';
import { Counter, Gauge } from './prom-client.ts';

/**
 * The standard process metrics under their standard names, so that common dashboards
 * work. prom-client's own collector loads perf_hooks, an event-loop histogram and a
 * tracing API. Reads are synchronous because /proc is memory.
 */
export class ProcessMetrics {
  readonly #cpu: Counter;
  readonly #resident: Gauge;
  readonly #openFds: Gauge;
  readonly #maxFds: Gauge;
  readonly #start: Gauge;
  readonly #heapTotal: Gauge;
  readonly #heapUsed: Gauge;
  readonly #external: Gauge;

  constructor(registry: Registry) {
    const gauge = (name: string, help: string): Gauge =>
      new Gauge({ name, help, registers: [registry] });
    this.#cpu = new Counter({
      name: 'process_cpu_seconds_total',
      help: 'Total user and system CPU time spent in seconds.',
      registers: [registry],
    });
    this.#resident = gauge('process_resident_memory_bytes', 'Resident memory size in bytes.');
    this.#openFds = gauge('process_open_fds', 'Number of open file descriptors.');
    this.#maxFds = gauge('process_max_fds', 'Maximum number of open file descriptors.');
    this.#start = gauge(
      'process_start_time_seconds',
      'Start time of the process since unix epoch in seconds.',
    );
    this.#heapTotal = gauge(
      'nodejs_heap_size_total_bytes',
      'Process heap size from Node.js in bytes.',
    );
    this.#heapUsed = gauge(
      'nodejs_heap_size_used_bytes',
      'Process heap size used from Node.js in bytes.',
    );
    this.#external = gauge(
      'nodejs_external_memory_bytes',
      'Node.js external memory size in bytes.',
    );
  }

  refresh(status: AgentStatus): void {
    const { user, system } = process.cpuUsage();
    this.#cpu.reset();
    this.#cpu.inc((user + system) / 1e6);
    const memory = process.memoryUsage();
    this.#resident.set(memory.rss);
    this.#heapTotal.set(memory.heapTotal);
    this.#heapUsed.set(memory.heapUsed);
    this.#external.set(memory.external);
    this.#start.set(status.startedAt / second);
    setOrRemove(this.#openFds, openFds());
    setOrRemove(this.#maxFds, maxFds());
  }
}

/** If a sandbox hides /proc, the series is absent rather than wrong. */
function setOrRemove(gauge: Gauge, value: number | undefined): void {
  if (value === undefined) gauge.remove();
  else gauge.set(value);
}

function openFds(): number | undefined {
  try {
    // The listing itself holds one descriptor.
    return readdirSync('/proc/self/fd').length - 1;
  } catch {
    return undefined;
  }
}

function maxFds(): number | undefined {
  try {
    const soft = /^Max open files\s+(\S+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1];
    if (soft === undefined) return undefined;
    return soft === 'unlimited' ? Infinity : Number(soft);
  } catch {
    return undefined;
  }
}
