import type { Instant } from './instant.ts';
import { day, minute } from './instant.ts';

/** Hours of the week in local time, such as `Sun 02:00-04:00`. */
export interface MaintenanceWindow {
  /** The days on which it opens: 0 is Sunday. */
  readonly days: ReadonlySet<number>;
  /** From midnight until the opening, in milliseconds. */
  readonly from: number;
  readonly length: number;
}

/** The milliseconds by which local time is ahead of UTC at an instant. */
export type OffsetAt = (instant: Instant) => number;

const dayNames: readonly string[] = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'];
const pattern = /^(?:(\S{1,40}) +)?(\d\d:\d\d)-(\d\d:\d\d)$/;
const form = 'expected days and times such as Sun 02:00-04:00, Sat,Sun 23:00-01:00 or 02:00-04:00';

/** Without days, the window opens every day. An end before the start is on the next day. */
export function parseMaintenanceWindow(
  text: string,
): { readonly window: MaintenanceWindow } | { readonly problem: string } {
  const [, names, start = '', end = ''] = pattern.exec(text.trim()) ?? [];
  if (start === '') return { problem: form };
  const days =
    names === undefined ? dayNames.map((_, index) => index) : names.split(',').map(dayOf);
  const unknown = days.indexOf(-1);
  if (unknown !== -1) {
    const found = JSON.stringify(names?.split(',')[unknown]);
    return { problem: `${found} is not a day: expected ${dayNames.join(', ')}` };
  }
  const from = timeOfDay(start);
  const to = timeOfDay(end);
  if (from === undefined || from === day || to === undefined) {
    const wrong = to === undefined && from !== undefined && from < day ? end : start;
    return { problem: `"${wrong}" is not a time of day: expected 00:00 to 23:59` };
  }
  if (from === to) return { problem: 'the window ends when it opens' };
  return { window: { days: new Set(days), from, length: to > from ? to - from : to + day - from } };
}

function dayOf(name: string): number {
  return dayNames.findIndex((known) => known.toLowerCase() === name.toLowerCase());
}

/** 24:00 is the end of a day. */
function timeOfDay(text: string): number | undefined {
  const [hours = NaN, minutes = NaN] = text.split(':').map(Number);
  const time = (hours * 60 + minutes) * minute;
  return minutes < 60 && time <= day ? time : undefined;
}

/** When the window is open at this instant, its end; otherwise undefined. */
export function openUntil(
  window: MaintenanceWindow,
  instant: Instant,
  offsetAt: OffsetAt,
): Instant | undefined {
  const ends = openings(window, instant, offsetAt)
    .filter((start) => start <= instant)
    .map((start) => start + window.length);
  const end = Math.max(...ends);
  return instant < end ? end : undefined;
}

/** The first opening after this instant. */
export function nextOpening(
  window: MaintenanceWindow,
  instant: Instant,
  offsetAt: OffsetAt,
): Instant {
  return Math.min(...openings(window, instant, offsetAt).filter((start) => start > instant));
}

/** From two days before this instant to eight days after it. */
function openings(
  { days, from }: MaintenanceWindow,
  instant: Instant,
  offsetAt: OffsetAt,
): Instant[] {
  const midnight = Math.floor((instant + offsetAt(instant)) / day) * day;
  return Array.from({ length: 11 }, (_, index) => midnight + (index - 2) * day)
    .filter((date) => days.has(new Date(date).getUTCDay()))
    .map((date) => fromLocal(date + from, offsetAt));
}

/**
 * As RFC 5545 3.3.5: a local time that occurs twice is the first one, and a local time that the
 * change to summer time skips counts with the offset before the change. A window always keeps its
 * length.
 */
function fromLocal(local: number, offsetAt: OffsetAt): Instant {
  const before = local - offsetAt(local - day);
  const after = local - offsetAt(local + day);
  return [before, after].find((instant) => instant + offsetAt(instant) === local) ?? before;
}
