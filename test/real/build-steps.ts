import { spawnSync } from 'node:child_process';

/** What the scripts share that build the parts of real tests. */
export function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** @throws with the end of the program's output */
export function run([command = '', ...args]: readonly string[]): void {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    encoding: 'utf8',
    maxBuffer: 2 ** 26,
  });
  if (status === 0) return;
  const tail = `${stdout}\n${stderr}`.trimEnd().split('\n').slice(-15).join('\n');
  throw new Error(`${command} ${args.join(' ')} failed:\n${tail}`, { cause: error });
}
