import { spawn } from 'node:child_process';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import fs, { stat } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';

/*
 * Loaded into keeper and enroller before the program (`--import`). In the chosen process
 * it attaches strace to one thread, and then lets the program start. Plain JavaScript,
 * because the keeper runs without the compiler that strips types.
 *
 * strace counts the calls of each thread separately, and only those that its path filter
 * selects (both checked with 6.1). "The n-th fsync" is therefore well defined if one
 * thread is traced, which is the main thread or the only one of libuv's pool, and the
 * paths are known. Names of temporary files contain the time in nanoseconds, which is a
 * plain counter here, so that strace can know them.
 *
 * Commands that change files of a node read three files of each process of the machine. Here they
 * find none, so that the n-th call is the same in every run.
 */

/** @typedef {import('./injection.ts').AttachRequest} AttachRequest */

/** @type {AttachRequest} */
const request = JSON.parse(process.env['FAULT_ATTACH'] ?? '{}');
// Only the first such process is traced. The enroller that replaces a killed one is not.
if (process.argv[2] === request.role && !existsSync(request.output)) {
  if (['certs', 'trust'].includes(request.role)) hideProcesses();
  await attach(request);
}

function hideProcesses() {
  const { readdir } = fs;
  const hiding = async (/** @type {any[]} */ ...args) =>
    args[0] === '/proc' ? [] : Reflect.apply(readdir, fs, args);
  fs.readdir = /** @type {typeof readdir} */ (hiding);
  syncBuiltinESMExports();
}

/** @param {AttachRequest} request */
async function attach({ strace, thread, paths, replaced, filters, output }) {
  let moment = 0n;
  process.hrtime.bigint = () => (moment += 1n);
  const tid = thread === 'main' ? String(process.pid) : await poolThread();
  const args = [
    '-qys0',
    `-o${output}`,
    `-p${tid}`,
    ...[...paths, ...temporaryPaths(replaced)].flatMap((path) => ['-P', path]),
    ...filters.flatMap((filter) => ['-e', filter]),
  ];
  spawn(strace, args, { detached: true, stdio: 'ignore' }).unref();
  while (readFileSync(`/proc/self/task/${tid}/status`, 'utf8').includes('TracerPid:\t0\n')) {
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** The first call starts the one thread that UV_THREADPOOL_SIZE=1 allows. */
async function poolThread() {
  await stat('/');
  const found = readdirSync('/proc/self/task').filter((tid) =>
    readFileSync(`/proc/self/task/${tid}/comm`, 'utf8').startsWith('libuv-worker'),
  );
  if (found.length !== 1) throw new Error(`${found.length} threads in libuv's pool`);
  return found[0];
}

/**
 * As src/store/atomic-file.ts makes them, the first times.
 * @param {AttachRequest['replaced']} replaced
 */
function temporaryPaths(replaced) {
  const suffixes = Array.from(
    { length: ['run', 'enroller'].includes(request.role) ? 12 : 64 },
    (_, index) => ((BigInt(index + 1) << 22n) | BigInt(process.pid)).toString(16).padStart(16, '0'),
  );
  return replaced.flatMap(({ directory, name }) =>
    suffixes.map((suffix) => `${directory}/.nodecertd-${suffix}.${name}`),
  );
}
