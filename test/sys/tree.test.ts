import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { nodeTree } from '../adopt/node-files.ts';

test('locate() follows all links within the image, and never out of it', async (t) => {
  const tree = await nodeTree(t, {
    '/usr/lib/real.conf': 'x',
    '/lib': { link: 'usr/lib' },
    '/etc/absolute': { link: '/usr/lib/real.conf' },
    '/etc/relative': { link: '../lib/real.conf' },
    '/etc/escape': { link: '../../../../../../etc/passwd' },
    '/etc/dangling': { link: '/var/none/file' },
  });
  const places = [
    ['/etc/absolute', '/usr/lib/real.conf'],
    ['/etc/relative', '/usr/lib/real.conf'],
    ['/lib/./real.conf', '/usr/lib/real.conf'],
    ['/etc/escape', '/etc/passwd'],
    ['/etc/dangling', '/var/none/file'],
    ['/not/there', '/not/there'],
  ] as const;
  for (const [path, expected] of places) {
    const place = await tree.locate(path);
    assert.equal(place.path, expected, path);
    assert.equal(place.physical, join(tree.root, expected));
  }
});

test('locate() rejects a loop of links', async (t) => {
  const tree = await nodeTree(t, { '/a': { link: 'b' }, '/b': { link: 'a' } });
  await assert.rejects(tree.locate('/a'), { code: 'STORE_IO', message: /loop of links/ });
});

test('locate() rejects NUL, in a message without escape sequences', async (t) => {
  const tree = await nodeTree(t, {});
  const message = '/etc/ [2J is not a path';
  await assert.rejects(tree.locate('/etc/\0\u001B[2J'), { code: 'STORE_IO', message });
});

test('leadsThrough() needs the link itself, not only the same file', async (t) => {
  const tree = await nodeTree(t, {
    '/pki/dated.pem': 'x',
    '/pki/current.pem': { link: '/pki/dated.pem' },
    '/etc/by-link.pem': { link: '/pki/current.pem' },
    '/etc/by-file.pem': { link: '/pki/dated.pem' },
    '/alias': { link: 'pki' },
  });
  const leads = (path: string): Promise<boolean> => tree.leadsThrough(path, '/pki/current.pem');
  assert.equal(await leads('/etc/by-link.pem'), true);
  assert.equal(await leads('/alias/current.pem'), true);
  assert.equal(await leads('/etc/by-file.pem'), false);
  assert.equal(await leads('/pki/dated.pem'), false);
});

test('readText() finds no text, an empty text or a text, and rejects other files', async (t) => {
  const tree = await nodeTree(t, {
    '/etc/masked': { link: '/dev/null' },
    '/etc/text': '\uFEFFa\r\n',
  });
  await writeFile(join(tree.root, 'etc/binary'), Buffer.from([0xff, 0xfe]));
  await writeFile(join(tree.root, 'etc/large'), Buffer.alloc(1024 * 1024 + 1, 'a'));
  await mkdir(join(tree.root, 'etc/folder'));
  assert.equal(await tree.readText('/etc/none'), undefined);
  assert.equal(await tree.readText('/etc/masked'), '');
  assert.equal(await tree.readText('/etc/text'), '\uFEFFa\r\n');
  for (const path of ['/etc/binary', '/etc/large', '/etc/folder']) {
    await assert.rejects(tree.readText(path), {
      code: 'CONFIG_UNREADABLE',
      message: /not a text file/,
    });
  }
});

test('kindOf() returns the kind of a path without following links', async (t) => {
  const tree = await nodeTree(t, { '/d/a.conf': '', '/link': { link: 'd' } });
  assert.deepEqual(
    await Promise.all(['/d', '/link', '/d/a.conf', '/none'].map((path) => tree.kindOf(path))),
    ['directory', 'link', 'other', 'missing'],
  );
});
