import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { parseAllDocuments } from 'yaml';
import { chartDirectory } from '../../scripts/chart.ts';
import { helmProgram, isExecutable, skip } from './programs.ts';

export const manifestsFile = fileURLToPath(
  new URL('../../config/approver/manifests.yaml', import.meta.url),
);

export interface KubernetesObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
}

/** For the `skip` option of a test. @throws in CI, where no test may be skipped */
export function skipWithoutHelm(): string | false {
  if (isExecutable(helmProgram())) return false;
  return skip('tests of the chart: helm is not built (make control-plane)');
}

export async function helm(...args: readonly string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(helmProgram(), args);
  return stdout;
}

/** The objects of the chart as text, for the release nodecertd-approver. */
export async function renderChart(namespace: string, ...args: readonly string[]): Promise<string> {
  return helm('template', 'nodecertd-approver', chartDirectory, '--namespace', namespace, ...args);
}

export function objectsOf(text: string): KubernetesObject[] {
  return parseAllDocuments(text)
    .map((document) => document.toJS() as KubernetesObject | null)
    .filter((object) => object !== null);
}

/** manifests.yaml: what the chart renders, without the marks of a Helm release. */
export async function renderManifests(): Promise<string> {
  const text = await renderChart('kube-system');
  const plain = text
    .split('\n')
    .filter(
      (line) => !/^ *(# Source: |helm\.sh\/chart: |app\.kubernetes\.io\/managed-by: )/.test(line),
    )
    .join('\n')
    .replaceAll(/\n+---\n/g, '\n---\n')
    .replace(/^---\n/, '');
  return `${manifestsHeader}${plain}`;
}

const manifestsHeader = `# nodecertd approver without Helm: what the chart renders with its default values in the
# namespace kube-system. make chart writes this file.
---
`;
