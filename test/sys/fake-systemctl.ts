import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { temporaryDirectory } from '../store/pairs.ts';

/** A program that prints this text for every `systemctl show`. */
export async function fakeSystemctl(context: TestContext, shown: string): Promise<string> {
  const systemctl = join(await temporaryDirectory(context), 'systemctl');
  await writeFile(systemctl, `#!/bin/sh\ncat <<'END'\n${shown}END\n`, { mode: 0o755 });
  return systemctl;
}

/** The output of `systemctl show` for a service, in the form of systemd 252. */
export function shownUnit({
  exec,
  environment = '',
  environmentFiles = [],
}: {
  readonly exec: string;
  readonly environment?: string;
  readonly environmentFiles?: readonly string[];
}): string {
  const [path = ''] = exec.split(' ');
  const state = 'start_time=[n/a] ; stop_time=[n/a] ; pid=0 ; code=(null) ; status=0/0';
  return [
    ...(exec === ''
      ? []
      : [`ExecStart={ path=${path} ; argv[]=${exec} ; ignore_errors=no ; ${state} }`]),
    `Environment=${environment}`,
    ...environmentFiles.map((file) => `EnvironmentFiles=${file} (ignore_errors=yes)`),
    'LoadState=loaded',
    '',
  ].join('\n');
}
