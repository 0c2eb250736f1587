import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { openSync, closeSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { second } from '../../../src/core/instant.ts';

/** An agent in its own process. */
export interface AgentProcess extends AsyncDisposable {
  /** The exit code or signal; undefined while it runs. */
  readonly exited: string | undefined;
  lastLines(): Promise<string>;
}

const agentProgram = join(import.meta.dirname, '../../../src/main.ts');

/** The command line that runs the agent from this checkout, for hints. */
export const agentCommand = `${process.execPath} ${agentProgram}`;

/** Starts `nodecertd run` with its log in a file. Disposing stops it and waits for its end. */
export function startAgentProcess(configFile: string, logFile: string): AgentProcess {
  const log = openSync(logFile, 'a', 0o600);
  const child = spawn(process.execPath, [agentProgram, 'run', '--config', configFile], {
    stdio: ['ignore', log, log],
    // Ctrl-C in the terminal must reach only the sandbox, which stops the agent first.
    detached: true,
  });
  closeSync(log);
  let exited: string | undefined;
  child.on('error', (error) => {
    exited = error.message;
  });
  child.on('exit', (code, signal) => {
    exited = signal === null ? `exit code ${code}` : `signal ${signal}`;
  });
  return {
    get exited() {
      return exited;
    },
    lastLines: async () =>
      (await readFile(logFile, 'utf8')).trimEnd().split('\n').slice(-5).join('\n'),
    [Symbol.asyncDispose]: async () => {
      if (exited !== undefined) return;
      const impatient = setTimeout(() => child.kill('SIGKILL'), 3 * second);
      const gone = once(child, 'exit');
      child.kill('SIGTERM');
      await gone;
      clearTimeout(impatient);
    },
  };
}
