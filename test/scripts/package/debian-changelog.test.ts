import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { describe, it } from 'node:test';
import { debianChangelog } from '../../../scripts/package/debian-changelog.ts';

const release = {
  package: 'nodecertd',
  version: '0.2.0-1',
  maintainer: 'Somebody <somebody@example.com>',
  date: new Date('2026-03-04T05:06:07Z'),
};

const markdown = `# Changelog

A foreword with a - dash.

## [Unreleased]

### Added

- A first change, so long that it has to be
  broken into several lines because no more than eighty columns are to be used.
- A second.

### Fixed

- A third.

## [0.1.0] - 2026-01-09

### Added

- The beginning.
`;

describe('debianChangelog()', () => {
  it('has a stanza for each release, the newest with the package version', () => {
    assert.equal(
      debianChangelog(markdown, release),
      `nodecertd (0.2.0-1) unstable; urgency=medium

  * Added: A first change, so long that it has to be broken into several lines
    because no more than eighty columns are to be used.
  * Added: A second.
  * Fixed: A third.

 -- Somebody <somebody@example.com>  Wed, 04 Mar 2026 05:06:07 +0000

nodecertd (0.1.0-1) unstable; urgency=medium

  * Added: The beginning.

 -- Somebody <somebody@example.com>  Fri, 09 Jan 2026 12:00:00 +0000
`,
    );
  });

  it('omits a heading without changes', () => {
    const text = debianChangelog(
      `## [Unreleased]\n\n${markdown.slice(markdown.indexOf('## [0'))}`,
      {
        ...release,
        version: '0.1.0-2',
      },
    );
    assert.deepEqual(text.match(/^nodecertd \(.*\)/gm), ['nodecertd (0.1.0-2)']);
  });

  it('throws for a changelog without changes', () => {
    assert.throws(() => debianChangelog('# Changelog\n', release), /no release/);
  });

  it('keeps every change of this project within 80 columns', async () => {
    const own = await readFile('CHANGELOG.md', 'utf8');
    const lines = debianChangelog(own, release).split('\n');
    assert.equal(
      lines.filter((line) => line.startsWith('  * ')).length,
      own.match(/^- /gm)?.length,
    );
    assert.deepEqual(
      lines.filter((line) => line.length > 80),
      [],
    );
  });
});
