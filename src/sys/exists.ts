import { stat } from 'node:fs/promises';
import { isMissing } from './file-error.ts';

/** True also for a path that this user may not inspect. */
export async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    (error: unknown) => !isMissing(error),
  );
}
