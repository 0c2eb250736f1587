import { spawn } from 'node:child_process';
import { lockDirectory } from '../../src/store/directory-lock.ts';

/** Holds the lock until it is killed, and has a child that outlives it. */
const lock = await lockDirectory(process.argv[2] ?? '');
const child = spawn('sleep', ['30'], { stdio: 'ignore', detached: true });
child.unref();
process.stdout.write(`${lock.locked} ${child.pid ?? 0}\n`);
setInterval(() => lock.locked, 60_000);
