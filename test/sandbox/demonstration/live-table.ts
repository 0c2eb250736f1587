import { formatDuration } from '../../../src/core/instant.ts';
import type { Instant } from '../../../src/core/instant.ts';
import { lifetimeStart } from '../../../src/core/schedule.ts';
import type { AgentStatus, CertificateStatus } from '../../../src/core/status.ts';
import { lifetimeLeft } from '../../../src/cli/status-report.ts';
import { fit, nextAttemptIn, oneLine, shortSerial } from '../../../src/cli/text.ts';

export interface LiveTableOptions {
  readonly columns: number;
  readonly color: boolean;
}

type Tone = 'good' | 'busy' | 'warn' | 'bad' | 'faint' | 'plain';

/** A text in one color. Widths are computed before colors are added. */
interface Span {
  readonly text: string;
  readonly tone: Tone;
}

interface Column {
  readonly heading: string;
  readonly width: number;
  cell(entry: CertificateStatus, now: Instant, width: number): readonly Span[];
}

const gap = '  ';
const minimumBar = 10;
const maximumBar = 40;

/**
 * Returns a heading and a line for each certificate, of at most `columns` cells. Narrow
 * terminals lose the last event first, then the serial number, then the bar.
 */
export function renderLiveTable(status: AgentStatus, options: LiveTableOptions): string[] {
  const { certificates, now } = status;
  const columns = layOut(certificates, now, options.columns);
  const paint = options.color ? inColor : (span: Span): string => span.text;
  const heading = columns.map(({ heading, width }) => [faint(fit(heading, width))]);
  const rows = certificates.map((entry) =>
    columns.map((column) => fill(column.cell(entry, now, column.width), column.width)),
  );
  return [heading, ...rows].map((cells) =>
    cells
      .map((spans) => spans.map(paint).join(''))
      .join(gap)
      .trimEnd(),
  );
}

function layOut(
  certificates: readonly CertificateStatus[],
  now: Instant,
  available: number,
): Column[] {
  const names = certificates.map(({ name }) => name);
  const words = certificates.map((entry) => stateWord(entry).text);
  const state = column(
    'STATE',
    widest('STATE', words, Math.min(23, Math.floor(available * 0.35))),
    (entry) => [stateWord(entry)],
  );
  const left = column('LEFT', 8, (entry, at) => [timeLeft(entry, at)]);
  const fixed = state.width + left.width + 2 * gap.length;
  const name = column(
    'CERTIFICATE',
    Math.max(widest('CERTIFICATE', names, Math.min(40, available - fixed)), 4),
    (entry) => [plain(entry.name)],
  );
  const serial = column('SERIAL', 9, (entry) => [faint(serialOf(entry))]);
  let spare = available - fixed - name.width;
  const bar = Math.min(Math.floor(spare * 0.6), maximumBar);
  const withBar = spare >= minimumBar + gap.length;
  const barWidth = Math.max(bar, minimumBar);
  if (withBar) spare -= barWidth + gap.length;
  const withSerial = withBar && spare >= serial.width + gap.length;
  if (withSerial) spare -= serial.width + gap.length;
  const eventWidth = spare - gap.length;
  return [
    name,
    state,
    ...(withSerial ? [serial] : []),
    ...(withBar ? [column('LIFETIME', barWidth, lifetimeBar)] : []),
    left,
    ...(withSerial && eventWidth >= 16
      ? [column('LAST EVENT', eventWidth, (entry) => [lastEvent(entry, now)])]
      : []),
  ];
}

function widest(heading: string, texts: readonly string[], limit: number): number {
  return Math.min(Math.max(heading.length, ...texts.map((text) => text.length)), limit);
}

function column(heading: string, width: number, cell: Column['cell']): Column {
  return { heading, width, cell };
}

/**
 * `━━━━━━━╌╌╌│╌╌`: the elapsed lifetime, the rest, and the rotation deadline. Empty
 * without a certificate, and dotted for a temporary self-signed certificate.
 */
function lifetimeBar(entry: CertificateStatus, now: Instant, width: number): Span[] {
  const { current, rotationDeadline } = entry;
  if (current === undefined) return [faint('·'.repeat(width))];
  const passed = Math.round((1 - lifetimeLeft(current, now)) * width);
  const start = lifetimeStart(current);
  const share =
    rotationDeadline === undefined
      ? undefined
      : (rotationDeadline - start) / (current.notAfter - start);
  const mark = share === undefined ? -1 : Math.min(Math.floor(share * width), width - 1);
  const tone = barTone(entry, now);
  return Array.from({ length: width }, (_, cell) => {
    if (cell === mark) return { text: '│', tone: entry.overdue ? 'bad' : 'plain' };
    return cell < passed ? { text: '━', tone } : faint('╌');
  });
}

function barTone(entry: CertificateStatus, now: Instant): Tone {
  if (entry.current === undefined || now >= entry.current.notAfter || entry.overdue) return 'bad';
  if (entry.current.selfSigned) return 'faint';
  return entry.rotationDeadline !== undefined && now >= entry.rotationDeadline ? 'busy' : 'good';
}

function stateWord({ state, usable, overdue }: CertificateStatus): Span {
  if (overdue) return { text: '● overdue', tone: 'bad' };
  const text = `${usable ? '●' : '○'} ${state.replaceAll('-', ' ')}`;
  return { text, tone: stateTones[state] };
}

const stateTones: Readonly<Record<CertificateStatus['state'], Tone>> = {
  starting: 'faint',
  valid: 'good',
  'not-yet-valid': 'warn',
  observing: 'good',
  'waiting-for-addresses': 'warn',
  'waiting-for-identity': 'faint',
  requesting: 'busy',
  'pending-approval': 'warn',
  'pending-issuance': 'busy',
  'backing-off': 'bad',
};

function serialOf({ current }: CertificateStatus): string {
  if (current === undefined) return '–';
  return current.selfSigned ? 'self-sig.' : shortSerial(current.serial);
}

function timeLeft({ current }: CertificateStatus, now: Instant): Span {
  if (current === undefined) return faint('–');
  const left = current.notAfter - now;
  return left > 0 ? plain(formatDuration(left)) : { text: 'expired', tone: 'bad' };
}

function lastEvent(entry: CertificateStatus, now: Instant): Span {
  const { lastEvent, lastFailure, nextAttempt } = entry;
  if (entry.state === 'backing-off' && lastFailure !== undefined) {
    const words = [lastFailure.code, nextAttemptIn(nextAttempt, now)];
    return { text: words.filter((word) => word !== undefined).join(', '), tone: 'bad' };
  }
  if (lastEvent === undefined) return faint('');
  return faint(`${timeOfDay(lastEvent.at)} ${oneLine(lastEvent.text)}`);
}

/** `12:30:01` in UTC, as in the log. */
export function timeOfDay(instant: Instant): string {
  return new Date(instant).toISOString().slice(11, 19);
}

function fill(spans: readonly Span[], width: number): Span[] {
  const [only, second] = spans;
  if (only !== undefined && second === undefined) return [{ ...only, text: fit(only.text, width) }];
  return joinAlike(spans);
}

/**
 * Merges neighbors of one color, so that a bar needs three or four escape sequences
 * instead of forty.
 */
function joinAlike(spans: readonly Span[]): Span[] {
  const joined: Span[] = [];
  for (const span of spans) {
    const last = joined.at(-1);
    if (last?.tone === span.tone)
      joined[joined.length - 1] = { ...last, text: last.text + span.text };
    else joined.push(span);
  }
  return joined;
}

function faint(text: string): Span {
  return { text, tone: 'faint' };
}

function plain(text: string): Span {
  return { text, tone: 'plain' };
}

/** Colors that every theme defines, without white and black, which may be the background. */
const codes: Readonly<Record<Tone, string>> = {
  good: '32',
  busy: '36',
  warn: '33',
  bad: '31',
  faint: '2',
  plain: '',
};

function inColor({ text, tone }: Span): string {
  return codes[tone] === '' ? text : `\u001b[${codes[tone]}m${text}\u001b[0m`;
}
