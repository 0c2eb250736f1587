'use strict';
/**
 * Runs in the folder of the built pieces, under the flags of one role: loads every
 * piece, so that Node writes the compiled form of each, and ends. See compile-cache.ts.
 */
const { readdirSync } = require('node:fs');
const { createRequire, enableCompileCache } = require('node:module');
const { setFlagsFromString } = require('node:v8');

// The seed is fixed by now; as a flag it would be part of what the cache is valid for.
setFlagsFromString('--hash-seed=0');

const here = '/proc/self/cwd';
enableCompileCache({ directory: `${here}/cache`, portable: true });
const load = createRequire(`${here}/`);
const pieces = readdirSync(here).filter((name) => name.endsWith('.js') && name !== 'main.js');
for (const name of pieces.sort()) load(`./${name}`);
// The one that acts when it is loaded.
process.argv.splice(1, process.argv.length, `${here}/main.js`, '--version');
load('./main.js');
