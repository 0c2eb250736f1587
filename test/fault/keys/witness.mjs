import crypto, { KeyObject, webcrypto } from 'node:crypto';
import { existsSync, openSync, readFileSync, renameSync, writeFileSync, writeSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

/*
 * Loaded before the program (`--import`). In the enroller and in `nodecertd certs`, it
 * reports each generated private key to the test, because most keys of a test are never stored and cannot be
 * learned in another way.
 *
 * The program and the runtime are the released ones. Only the function that generates
 * keys has an observer, which returns its result unchanged. The observer exports the key
 * from OpenSSL into one buffer, writes it to a file of its own, and zeroes the buffer; a
 * copy left behind would be found by the search. The test compares the public key of
 * every CSR with the reported keys, so no key can be missed. The keeper runs without the
 * observer.
 *
 * With KEYS_PAUSE, a command waits at its end until its memory was searched.
 *
 * With KEYS_LEAK it leaks a key, to test that the search finds it.
 */

const role = process.argv[2];
const leak = process.env['KEYS_LEAK'];
if (role === 'enroller') observe(openSync(`${process.env['KEYS_WITNESS']}/${process.pid}`, 'a'));
if (role === 'certs') {
  observePairs(openSync(`${process.env['KEYS_WITNESS']}/${process.pid}`, 'a'));
  if (process.env['KEYS_PAUSE'] !== undefined) pauseAtExit(process.env['KEYS_PAUSE']);
}
if (role === 'run' && leak === 'keeper') keepCopies(process.env['KEYS_PAIR'] ?? '');

/** @param {number} channel */
function observe(channel) {
  const prototype = Object.getPrototypeOf(webcrypto.subtle);
  const { generateKey } = prototype;
  prototype.generateKey = async function observed(/** @type {unknown[]} */ ...args) {
    const made = await generateKey.apply(this, args);
    if (made.privateKey !== undefined) tell(channel, KeyObject.from(made.privateKey));
    return made;
  };
}

/** @param {number} channel */
function observePairs(channel) {
  const { generateKeyPair } = crypto;
  /** @param {unknown[]} args */
  function observed(...args) {
    const done = args.pop();
    if (typeof done !== 'function') throw new Error('generateKeyPair() without a callback');
    return Reflect.apply(generateKeyPair, crypto, [
      ...args,
      (
        /** @type {unknown} */ error,
        /** @type {unknown} */ publicKey,
        /** @type {KeyObject} */ key,
      ) => {
        if (key !== undefined) tell(channel, key);
        done(error, publicKey, key);
      },
    ]);
  }
  // With the names of the results, for promisify().
  Object.defineProperties(observed, Object.getOwnPropertyDescriptors(generateKeyPair));
  crypto.generateKeyPair = /** @type {typeof generateKeyPair} */ (observed);
  syncBuiltinESMExports();
}

/**
 * The process id in `at-exit` says that the command has ended. It exits when there is a file `go`.
 * @param {string} directory
 */
function pauseAtExit(directory) {
  process.on('exit', () => {
    writeFileSync(`${directory}/exiting`, String(process.pid));
    renameSync(`${directory}/exiting`, `${directory}/at-exit`);
    const never = new Int32Array(new SharedArrayBuffer(4));
    while (!existsSync(`${directory}/go`)) Atomics.wait(never, 0, 0, 20);
  });
}

/**
 * The length in four bytes, then PKCS #8 in DER.
 * @param {number} channel
 * @param {KeyObject} key
 */
function tell(channel, key) {
  const der = key.export({ format: 'der', type: 'pkcs8' });
  const message = Buffer.allocUnsafeSlow(4 + der.length);
  message.writeUInt32BE(der.length);
  message.set(der, 4);
  writeSync(channel, message);
  if (leak === 'stderr') process.stderr.write(`${der.toString('base64')}\n`);
  if (leak === 'ipc') process.send?.({ type: 'alive', der });
  der.fill(0);
  message.fill(0);
}

/** @param {string} path */
function keepCopies(path) {
  /** @type {string[]} */
  const copies = [];
  setInterval(() => {
    try {
      copies.push(readFileSync(path, 'latin1'));
    } catch {
      // Not yet there.
    }
  }, 200).unref();
}
