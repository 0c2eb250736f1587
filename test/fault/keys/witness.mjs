import { KeyObject, webcrypto } from 'node:crypto';
import { openSync, readFileSync, writeSync } from 'node:fs';

/*
 * Loaded before the program (`--import`). In the enroller, it reports each generated
 * private key to the test, because most keys of a test are never stored and cannot be
 * learned in another way.
 *
 * The program and the runtime are the released ones. Only the function that generates
 * keys has an observer, which returns its result unchanged. The observer exports the key
 * from OpenSSL into one buffer, writes it to a file of its own, and zeroes the buffer; a
 * copy left behind would be found by the search. The test compares the public key of
 * every CSR with the reported keys, so no key can be missed. The keeper runs without the
 * observer.
 *
 * With KEYS_LEAK it leaks a key, to test that the search finds it.
 */

const role = process.argv[2];
const leak = process.env['KEYS_LEAK'];
if (role === 'enroller') observe(openSync(`${process.env['KEYS_WITNESS']}/${process.pid}`, 'a'));
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
