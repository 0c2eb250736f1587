/**
 * The one door to prom-client: four of its parts instead of its index, which costs
 * the keeper a tenth of the memory (no default metrics, no cluster, no tracing).
 */
export { default as Registry } from 'prom-client/lib/registry.js';
export { default as Gauge } from 'prom-client/lib/gauge.js';
export { default as Counter } from 'prom-client/lib/counter.js';
export { default as Histogram } from 'prom-client/lib/histogram.js';
