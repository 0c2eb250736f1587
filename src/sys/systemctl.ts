import { access, constants } from 'node:fs/promises';

/**
 * Where systemctl is, by the places that distributions have for it: PATH is not asked
 * what to run as root. Where there is none, the usual place.
 */
export async function systemctlPath(): Promise<string> {
  for (const path of places) {
    const isThere = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (isThere) return path;
  }
  return places[0];
}

const places = [
  '/usr/bin/systemctl',
  '/bin/systemctl',
  '/run/current-system/sw/bin/systemctl',
] as const;
