import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildSync } from 'esbuild';
import { stringify } from 'yaml';
import { goProgram } from '../support/go-program.ts';
import { cacheDirectory, isExecutable } from '../support/programs.ts';

/** The files of one agent. Each run has its own. */
export interface AgentFiles {
  readonly nodeName: string;
  readonly bootstrapKubeconfig: string;
  readonly kubeconfig: string;
  readonly certDirectory: string;
  /** An empty folder for other files of the agent. */
  readonly workDirectory: string;
}

/** A program that rotates `kubelet-client-current.pem` of a node. */
export interface AgentProgram {
  readonly name: string;
  readonly command: string;
  args(files: AgentFiles): readonly string[];
  /** The URL of the metrics of a running agent, if it has metrics. */
  metricsUrl?(files: AgentFiles): string;
}

/** The agents to compare. The ratios refer to the first one. */
export function agentPrograms(): AgentProgram[] {
  return [clientGo(), ...nodecertd()];
}

function clientGo(): AgentProgram {
  return {
    name: 'client-go',
    command: goProgram('bench-client-go'),
    args: (files) => [
      `--bootstrap-kubeconfig=${files.bootstrapKubeconfig}`,
      `--kubeconfig=${files.kubeconfig}`,
      `--cert-dir=${files.certDirectory}`,
      `--hostname=${files.nodeName}`,
    ],
  };
}

/** The released form from `make build`; absent if it has not been built. */
function nodecertd(): AgentProgram[] {
  const command = join(import.meta.dirname, '../../dist/nodecertd');
  return isExecutable(command) ? [nodecertdAt('nodecertd', command)] : [];
}

/** Writes a configuration for each run. */
export function nodecertdAt(name: string, command: string): AgentProgram {
  return {
    name,
    command,
    args: (files) => ['run', '--config', configure(files)],
    metricsUrl: ({ workDirectory }) => {
      const state: unknown = JSON.parse(
        readFileSync(join(workDirectory, 'state/state.json'), 'utf8'),
      );
      return `http://${(state as { metricsAddress: string }).metricsAddress}/metrics`;
    },
  };
}

/**
 * A lower bound for this runtime: see least/main.ts. It only gets a first pair, so only
 * its start is compared.
 */
export function leastProgram(): AgentProgram {
  const script = join(cacheDirectory, 'bench-least.cjs');
  buildSync({
    entryPoints: [join(import.meta.dirname, 'least/main.ts')],
    outfile: script,
    bundle: true,
    platform: 'node',
    format: 'cjs',
    define: { 'import.meta.filename': '__filename' },
  });
  return {
    name: 'least Node program',
    command: process.execPath,
    args: ({ nodeName, bootstrapKubeconfig, certDirectory, workDirectory }) => {
      const subject = `/O=system:nodes/CN=system:node:${nodeName}`;
      const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
      const files = ['-keyout', 'key.pem', '-out', 'request.pem'];
      execFileSync('openssl', ['req', '-new', ...newKey, '-subj', subject, ...files], {
        cwd: workDirectory,
        stdio: 'ignore',
      });
      return [script, bootstrapKubeconfig, certDirectory, workDirectory];
    },
  };
}

/** One client certificate, like the other program, and defaults for everything else. */
function configure(files: AgentFiles): string {
  const configuration = {
    apiVersion: 'nodecertd.io/v1alpha1',
    kind: 'AgentConfiguration',
    nodeName: files.nodeName,
    kubeconfig: files.kubeconfig,
    bootstrapKubeconfig: files.bootstrapKubeconfig,
    certificateDirectory: files.certDirectory,
    stateDirectory: join(files.workDirectory, 'state'),
    certificates: [{ name: 'kubelet-client', profile: 'kubelet-client' }],
    store: { acceptVolatileDirectory: true },
    metrics: { address: '127.0.0.1:0' },
  };
  const file = join(files.workDirectory, 'config.yaml');
  writeFileSync(file, stringify(configuration));
  return file;
}
