import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { errorCodes } from '../../src/core/errors.ts';
import { logEvents } from '../../src/core/log-events.ts';
import { everyMetric } from '../metrics/every-metric.ts';
import { scrape } from '../metrics/exposition.ts';
import { codeOf, pages, read, root, trustFindingIds } from './pages.ts';

describe('names on the pages', async () => {
  const makefile = await read('Makefile');
  const targets = new Set([...makefile.matchAll(/^([a-z][a-z0-9-]*):/gm)].map(([, name]) => name));
  const { types } = await scrape(everyMetric());
  const known: ReadonlySet<string> = new Set([
    ...types.keys(),
    ...Object.keys(logEvents),
    ...(await trustFindingIds()),
  ]);

  for (const page of pages) {
    it(`are files of the repository in ${page}`, async () => {
      const paths = (await codeOf(page)).matchAll(
        /(?<=^|\s)(?:src|test|scripts|config|docs|systemd)\/[\w./-]*/gm,
      );
      for (const [path] of paths) assert.ok(existsSync(join(root, path)), path);
    });

    it(`are targets of the Makefile in ${page}`, async () => {
      for (const [, target = ''] of (await codeOf(page)).matchAll(/^make ([a-z][a-z0-9-]*)/gm)) {
        assert.ok(targets.has(target), target);
      }
    });

    it(`are metrics, log events or findings of the program in ${page}`, async () => {
      for (const [name] of (await codeOf(page)).matchAll(/^[a-z]+(?:_[a-z]+)+$/gm)) {
        assert.ok(known.has(name) || environment.test(name), name);
      }
    });

    it(`are error codes of the program in ${page}`, async () => {
      for (const [name] of (await codeOf(page)).matchAll(/^[A-Z]+(?:_[A-Z]+)+$/gm)) {
        assert.ok(codes.has(name) || environment.test(name), name);
      }
    });
  }
});

const codes: ReadonlySet<string> = new Set(errorCodes);
/** Variables that hooks, plugins and the proxy settings use. */
const environment = /^(?:NODECERTD|KUBERNETES|AWS|HTTPS?|NO)_/i;
