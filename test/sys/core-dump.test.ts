import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { readFile, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, it } from 'node:test';
import { Matcher } from '../fault/keys/matcher.ts';
import { needlesOf } from '../fault/keys/needles.ts';
import { temporaryDirectory } from '../store/pairs.ts';
import { skipWithoutDumps, withDumps } from '../support/core-dumps.ts';

const module = pathToFileURL(join(import.meta.dirname, '../../src/sys/core-dump.ts')).href;

/** Holds the key on standard input as text and in OpenSSL, then dumps core. */
const program = `
  import { createPrivateKey } from 'node:crypto';
  import { readFileSync } from 'node:fs';
  import { excludeMemoryFromCoreDumps } from '${module}';
  globalThis.pem = readFileSync(0);
  globalThis.key = createPrivateKey(globalThis.pem);
  if (process.argv[1] === 'excluded') excludeMemoryFromCoreDumps();
  process.abort();`;

describe('excludeMemoryFromCoreDumps()', () => {
  it('applies to the process and the programs that it starts', () => {
    const child = `
      import { excludeMemoryFromCoreDumps } from '${module}';
      import { execFileSync } from 'node:child_process';
      excludeMemoryFromCoreDumps();
      process.stdout.write(execFileSync('cat', ['/proc/self/coredump_filter']));`;
    const filter = execFileSync(process.execPath, ['--input-type=module', '-e', child], {
      encoding: 'utf8',
    });
    assert.equal(filter, '00000000\n');
  });

  it(
    'leaves no part of a private key in a core dump',
    { skip: skipWithoutDumps() },
    async (context) => {
      const directory = await temporaryDirectory(context);
      const key = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
      const matcher = new Matcher();
      matcher.add(needlesOf('key', key));
      const partsInDump = async (kind: 'complete' | 'excluded'): Promise<number> => {
        const node = [process.execPath, '--input-type=module', '-e', program, kind];
        const [command = '', ...args] = [...withDumps, ...node];
        spawnSync(command, args, {
          cwd: directory,
          input: key.export({ format: 'pem', type: 'pkcs8' }),
        });
        const [dump = 'no core dump'] = await readdir(directory);
        const found = matcher.search(await readFile(join(directory, dump)));
        await rm(join(directory, dump));
        return found.length;
      };
      assert.notEqual(await partsInDump('complete'), 0);
      assert.equal(await partsInDump('excluded'), 0);
    },
  );
});
