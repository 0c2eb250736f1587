import { stringify } from 'yaml';

/**
 * In a file of its own, which is loaded only for YAML. In the bundle, a dynamic import of the
 * CommonJS package `yaml` itself has no named exports.
 */
export function yamlText(value: unknown): string {
  return stringify(value);
}
