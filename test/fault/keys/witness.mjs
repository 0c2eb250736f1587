import { KeyObject, webcrypto } from 'node:crypto';
import { openSync, readFileSync, writeSync } from 'node:fs';

/*
 * Loaded ahead of the program (`--import`): in the enroller, tells the test each private
 * key that is made. Most keys of a test are never stored, and leave the enroller in no
 * way that anybody could look for them by.
 *
 * Why this proves something about the program as it is shipped: program and runtime are
 * those of a node, and only the one function that makes keys has an observer, which
 * hands its result on unchanged. What it takes of a key it takes out of OpenSSL into one
 * buffer of its own, writes to a file that nobody else uses, and zeroes; a copy that it
 * left behind would be one more that the search finds. No key escapes it unseen: the
 * test holds the public key of every request against those that were told. And the
 * keeper runs without any of this.
 *
 * With KEYS_LEAK it does what must never happen, to see the search find it.
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
