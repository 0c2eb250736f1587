import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { findSigningKeys } from '../../../src/trust/cluster/signing-authorities.ts';
import { temporaryDirectory } from '../../store/pairs.ts';
import { makeTestAuthority } from '../node/authority.ts';

const old = makeTestAuthority();
const next = makeTestAuthority();
const authorities = { old: old.authority, next: next.authority };

describe('findSigningKeys()', () => {
  it('finds each key by its CA, also in a further file', async (context) => {
    const certificates = await temporaryDirectory(context);
    await writeFile(join(certificates, 'ca.key'), next.key);
    const elsewhere = join(certificates, 'vault.key');
    await writeFile(elsewhere, old.key);
    const found = await findSigningKeys(authorities, { certificates, files: [elsewhere] });
    assert.equal(found.old?.authority, old.authority);
    assert.equal(found.next?.authority, next.authority);
    const local = await findSigningKeys(authorities, { certificates, files: [] });
    assert.equal(local.old, undefined);
  });

  it('leaves out an unusable file of the node, and rejects one that was named', async (context) => {
    const certificates = await temporaryDirectory(context);
    await mkdir(join(certificates, 'ca.key'));
    await writeFile(join(certificates, 'ca-next.key'), 'not a key');
    assert.deepEqual(await findSigningKeys(authorities, { certificates, files: [] }), {});
    const files = [join(certificates, 'ca-next.key')];
    await assert.rejects(findSigningKeys(authorities, { certificates, files }), {
      code: 'PAIR_MALFORMED',
    });
  });
});
