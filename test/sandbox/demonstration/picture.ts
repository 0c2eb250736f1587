import { second } from '../../../src/core/instant.ts';
import type { CertificateStatus } from '../../../src/core/status.ts';
import { agentStatus, certificateStatus, pairFacts, start } from '../../cli/statuses.ts';
import { guide } from './guide.ts';
import { renderLiveTable } from './live-table.ts';

export const pictureFile = new URL('../../../docs/live-table.svg', import.meta.url);

const columns = 100;
const cell = { width: 8.4, height: 19 };
const margin = { left: 18, top: 32 };

const style = `
  .screen { fill: #ffffff; stroke: #d0d7de }
  text { font: 14px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: #1f2328 }
  .c2 { opacity: 0.65 }
  .c32 { fill: #1a7f37 }
  .c36 { fill: #1b7c83 }
  @media (prefers-color-scheme: dark) {
    .screen { fill: #0d1117; stroke: #30363d }
    text { fill: #e6edf3 }
    .c32 { fill: #3fb950 }
    .c36 { fill: #39c5cf }
  }
`;

/** The screen of `make run` as an SVG, with the colors of the terminal. */
export function livePicture(): string {
  const lines = screen();
  const width = Math.round(columns * cell.width + 2 * margin.left);
  const height = margin.top + lines.length * cell.height;
  const size = `width="${width}" height="${height}"`;
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" ${size} role="img" aria-labelledby="title">`,
    '<title id="title">The live table of make run: one certificate is valid, the other is being rotated</title>',
    `<style>${style}</style>`,
    `<rect class="screen" x="0.5" y="0.5" width="${width - 1}" height="${height - 1}" rx="8"/>`,
    ...lines.flatMap(textElements),
    '</svg>',
  ].join('\n')}\n`;
}

function stored(
  serial: string,
  seconds: number,
): Pick<CertificateStatus, 'current' | 'rotationDeadline'> {
  const storedAt = start + seconds * second;
  return {
    current: pairFacts({ serial, storedAt, notAfter: storedAt + 60 * second }),
    rotationDeadline: storedAt + 47 * second,
  };
}

/** A client certificate half through its minute, and a serving certificate past its deadline. */
function screen(): string[] {
  const now = start + 50 * second;
  const status = agentStatus(now, [
    certificateStatus(stored('78e2b0914ec4', 20)),
    certificateStatus({
      ...stored('4d65710304ad', 2),
      name: 'kubelet-server',
      state: 'requesting',
    }),
  ]);
  return [
    ...guide({
      directory: '/tmp/nodecertd-sandbox-x7Kq2p',
      kept: false,
      address: { host: '127.0.0.1', port: 45_869 },
      agentCommand: 'node ~/nodecertd/src/main.ts',
    }),
    ...renderLiveTable(status, { columns, color: true }),
  ];
}

const escape = '\u001b';
const colored = new RegExp(`${escape}\\[(\\d+)m(.*?)${escape}\\[0m`);

/** An element for each run of words in one color, at its column: not every renderer keeps spaces. */
function textElements(line: string, row: number): string[] {
  const y = margin.top + row * cell.height;
  let column = 0;
  // With two groups, split() gives: plain text, color, colored text, plain text, …
  const parts = line.split(colored);
  return parts.flatMap((part, index) => {
    if (index % 3 === 1) return [];
    const color = index % 3 === 2 ? ` class="c${parts[index - 1]}"` : '';
    const from = column;
    column += part.length;
    return [...part.matchAll(/\S+(?: \S+)*/g)].map(({ 0: words, index: offset }) => {
      const x = (margin.left + (from + offset) * cell.width).toFixed(1);
      const length = (words.length * cell.width).toFixed(1);
      return `<text x="${x}" y="${y}" textLength="${length}" lengthAdjust="spacingAndGlyphs"${color}>${escaped(words)}</text>`;
    });
  });
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}
