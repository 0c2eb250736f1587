import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { requireServed } from '../../../src/trust/control-plane/served-chain.ts';
import { temporaryDirectory } from '../../store/pairs.ts';
import { hastened } from '../../support/hastened-clock.ts';
import { bridge, contextWith, next } from './check-context.ts';
import { startComponent } from './component-server.ts';

const { signal } = new AbortController();
/** Two minutes pass in a second. */
const clock = hastened(120);

describe('requireServed()', () => {
  for (const chain of [bridge, '']) {
    it(`accepts a certificate ${chain === '' ? 'alone' : 'with the bridge'}`, async (context) => {
      await using server = await startComponent({ served: next, trusted: [], chain });
      const path = join(await temporaryDirectory(context), 'apiserver.crt');
      await writeFile(path, server.certificate);
      await requireServed(await contextWith({ apiServer: server.port }, { clock }), path, signal);
    });

    it(`refuses one that is served ${chain === '' ? 'without' : 'with'} the bridge`, async (context) => {
      await using server = await startComponent({ served: next, trusted: [], chain });
      const path = join(await temporaryDirectory(context), 'apiserver.crt');
      const other =
        chain === '' ? server.certificate + bridge : server.certificate.replace(bridge, '');
      await writeFile(path, other);
      const checked = await contextWith({ apiServer: server.port }, { clock });
      await assert.rejects(requireServed(checked, path, signal), {
        code: 'SERVED_STALE',
        message: /^kube-apiserver at 127.0.0.1:\d+ does not serve .*apiserver.crt, 2m after/,
      });
    });
  }
});
