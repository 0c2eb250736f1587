import { join } from 'node:path';
import type { ControlPort } from '../control/server.ts';
import { startControlServer } from '../control/server.ts';
import { toFailure } from '../core/errors.ts';
import type { Logger } from '../sys/log.ts';
import { makeDirectory } from '../store/atomic-file.ts';

/** Where commands reach the agent, if they do. */
export interface ControlSocket extends AsyncDisposable {
  readonly path?: string;
}

/**
 * In the directory that the service manager made for the time of this run, or else
 * beside the state. Certificates matter more than commands: without the socket the
 * agent goes on, and says so.
 */
export async function openControlSocket(
  stateDirectory: string,
  port: ControlPort,
  logger: Logger,
): Promise<ControlSocket> {
  // Several directories are one list, as RuntimeDirectory= of the unit may name them.
  const [runtimeDirectory = ''] = (process.env['RUNTIME_DIRECTORY'] ?? '').split(':');
  const path = join(runtimeDirectory === '' ? stateDirectory : runtimeDirectory, 'control.sock');
  try {
    if (runtimeDirectory === '') await makeDirectory(stateDirectory);
    return await startControlServer(path, port);
  } catch (error) {
    const { code, message, remedy } = toFailure(error);
    logger.log('control_unavailable', { path, code, error: message, remedy });
    return { [Symbol.asyncDispose]: async () => undefined };
  }
}
