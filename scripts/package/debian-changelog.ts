export interface DebianRelease {
  readonly package: string;
  /** The version of the package, with Debian's revision. */
  readonly version: string;
  readonly maintainer: string;
  /** For changes that have no date in CHANGELOG.md yet. */
  readonly date: Date;
}

interface Release {
  /** `0.1.0`, or `Unreleased`. */
  readonly name: string;
  readonly date: Date | undefined;
  /** Each change with its heading: `Added: ...`. */
  readonly changes: readonly string[];
}

/**
 * Converts CHANGELOG.md to the format of Debian's tools (deb-changelog(5)). The newest
 * release gets the version of the package, whatever its heading says.
 * @throws if CHANGELOG.md has no release
 */
export function debianChangelog(markdown: string, release: DebianRelease): string {
  const releases = releasesOf(markdown).filter(({ changes }) => changes.length > 0);
  if (releases.length === 0) throw new Error('CHANGELOG.md has no release with a change');
  const revision = /-[^-]+$/.exec(release.version)?.[0] ?? '';
  return releases
    .map(({ name, date = release.date, changes }, index) => {
      const version = index === 0 ? release.version : `${name}${revision}`;
      return [
        `${release.package} (${version}) unstable; urgency=medium\n`,
        ...changes.map((change) => wrapped(change)),
        `\n -- ${release.maintainer}  ${rfc5322(date)}\n`,
      ].join('\n');
    })
    .join('\n');
}

function releasesOf(markdown: string): Release[] {
  const [, ...blocks] = markdown.split(/^## /m);
  return blocks.map((block) => {
    const [heading = '', ...sections] = block.split(/^### /m);
    const [, name = '', date] =
      /^\[?([^\]\s]+)\]?(?:\s+-\s+(\d{4}-\d\d-\d\d))?/.exec(heading) ?? [];
    return {
      name,
      date: date === undefined ? undefined : new Date(`${date}T12:00:00Z`),
      changes: sections.flatMap(changesOf),
    };
  });
}

function changesOf(sectionText: string): string[] {
  const [heading = '', ...rest] = sectionText.split('\n');
  const [, ...items] = `\n${rest.join('\n')}`.split(/^- /m);
  return items.map((item) => `${heading.trim()}: ${item.trim().replace(/\s+/g, ' ')}`);
}

/** deb-changelog(5) wants an indent of at least two spaces, and lintian at most 80 columns. */
function wrapped(change: string): string {
  const lines: string[] = [];
  let line = '  *';
  for (const word of change.split(' ')) {
    if (`${line} ${word}`.length > 78) {
      lines.push(line);
      line = '   ';
    }
    line = `${line} ${word}`;
  }
  return [...lines, line].join('\n');
}

/** The format of `date -R` in UTC, with two digits for the day (deb-changelog(5)). */
function rfc5322(date: Date): string {
  return date.toUTCString().replace(/GMT$/, '+0000');
}
