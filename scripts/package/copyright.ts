import type { Bundled } from './licenses.ts';

/**
 * The file debian/copyright in its machine-readable form
 * (https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/), with the text
 * of every license.
 */
export function copyrightFile(bundled: readonly Bundled[]): string {
  const head = [
    'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/',
    'Upstream-Name: nodecertd',
    'Comment: The program is bundled with the npm packages below, and comes with the Node.js',
    ' that runs it. What each of them is under is what its authors wrote.',
  ].join('\n');
  const own = [
    'Files: *',
    'Copyright: The nodecertd authors',
    `License: Apache-2.0\n${indented(apache)}`,
  ].join('\n');
  return `${[head, own, ...bundled.map(stanza)].join('\n\n')}\n`;
}

const apache = `Licensed under the Apache License, Version 2.0 (the "License");
you may not use this software except in compliance with the License.

Unless required by applicable law or agreed to in writing, software
distributed under the License is distributed on an "AS IS" BASIS,
WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied.
See the License for the specific language governing permissions and
limitations under the License.

On Debian systems, the full text of the License is in
/usr/share/common-licenses/Apache-2.0.`;

function stanza(bundled: Bundled): string {
  const { name, version, directory, license, text } = bundled;
  return [
    `Files: ${directory}/*`,
    `Copyright: ${holders(bundled).join('\n ')}`,
    `License: ${shortName(bundled)}\n${indented(license === 'Apache-2.0' ? withoutApache(text) : text)}`,
    `Comment: ${name} ${version}`,
  ].join('\n');
}

/** A name of its own for each text: every package under MIT has a text with its own authors. */
function shortName({ license, name }: Bundled): string {
  const plain = /^[A-Za-z0-9.+-]+$/.test(license) ? license : 'various';
  return `${plain}-${name.replace(/[^A-Za-z0-9.+-]+/g, '-').replace(/^-/, '')}`;
}

/**
 * Does not match "copyright and related rights", nor the [yyyy] template at the end of
 * the Apache License.
 */
const notice =
  /^[\s*#]*(?:Copyright|COPYRIGHT)\s+((?:\([cC]\)|©|[12]\d{3}|(?!Holder)[A-Z][a-z]).*)$/;

/**
 * Returns lines such as `Copyright (c) 2020 Jane Doe`, or the author of the manifest if
 * there are none.
 */
function holders({ text, author, name }: Bundled): string[] {
  const lines = text
    .split('\n')
    .map((line) => notice.exec(line)?.[1]?.trim())
    .filter((line) => line !== undefined);
  const writer = author ?? `The authors of ${name}`;
  const found = lines.map((line) => (/[a-z]{2}/i.test(line) ? line : `${line} ${writer}`));
  return found.length > 0 ? [...new Set(found)] : [writer];
}

/** Debian ships the text of this license, and its policy wants a reference instead of a copy. */
function withoutApache(text: string): string {
  const [before = '', after = ''] = text.split(
    /^ *Apache License[\s\S]*?END OF TERMS AND CONDITIONS$(?:[\s\S]*?limitations under the License\.)?/m,
  );
  return [before.trim(), apache, after.trim()].filter(Boolean).join('\n\n');
}

/** Indents each line by one space. An empty line becomes a dot, because it would end the stanza. */
function indented(text: string): string {
  return text
    .split('\n')
    .map((line) => (line.trim() === '' ? ' .' : ` ${line.trimEnd()}`))
    .join('\n');
}
