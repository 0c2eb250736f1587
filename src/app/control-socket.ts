import { join } from 'node:path';
import type { ControlPort } from '../control/server.ts';
import { startControlServer } from '../control/server.ts';
import { toFailure } from '../core/errors.ts';
import type { Logger } from '../sys/log.ts';
import { makeDirectory } from '../store/atomic-file.ts';

/** The socket for commands; without a path if it could not be opened. */
export interface ControlSocket extends AsyncDisposable {
  readonly path?: string;
}

/**
 * Opens the socket in the service manager's runtime directory, or else beside state.json.
 * Certificates matter more than commands: without the socket, the agent logs a warning
 * and keeps running.
 */
export async function openControlSocket(
  stateDirectory: string,
  port: ControlPort,
  logger: Logger,
): Promise<ControlSocket> {
  // RuntimeDirectory= may name several directories, separated by colons here.
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
