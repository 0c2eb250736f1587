import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { systemClock } from '../../../src/sys/clock.ts';
import { requireSigningPair } from '../../../src/trust/control-plane/signing-pair.ts';
import { temporaryDirectory } from '../../store/pairs.ts';
import { contextWith, next, old } from './check-context.ts';

const cases = [
  ['one certificate with its key', next.pem, next.key, undefined],
  ['two certificates', next.pem + old.pem, next.key, /has 2 certificates$/],
  ['the key of the other CA', next.pem, old.key, /does not match .*ca-signing.key$/],
  ['no certificate', '', next.key, /does not match/],
] as const;

describe('requireSigningPair()', () => {
  for (const [name, certificate, key, message] of cases) {
    it(`${message === undefined ? 'accepts' : 'refuses'} ${name}`, async (context) => {
      const certificates = await temporaryDirectory(context);
      await writeFile(join(certificates, 'ca-signing.crt'), certificate);
      await writeFile(join(certificates, 'ca-signing.key'), key);
      const { node } = await contextWith({ apiServer: 1 }, { clock: systemClock, certificates });
      const checked = requireSigningPair(node, 'signing');
      if (message === undefined) await checked;
      else await assert.rejects(checked, { code: 'CERT_KEY_MISMATCH', message });
    });
  }
});
