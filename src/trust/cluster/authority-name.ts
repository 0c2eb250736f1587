import type { Instant } from '../../core/instant.ts';

/** The suffix that `nextName` adds. */
const month = /[ -]\d{4}-\d\d[a-z]?$/;

/** The name of a CA before its first rollover. */
export function withoutMonth(name: string): string {
  return name.replace(month, '');
}

/**
 * The common name of the next CA: the previous one with the current month, and with a letter if a
 * CA of this month exists already. Other characters could be commands for the shell of the plan.
 * @param subject in OpenSSL's form, one attribute on each line
 */
export function nextName(subject: string, now: Instant): string {
  const previous = /^CN=([\w .-]+)$/m.exec(subject)?.[1] ?? 'kubernetes';
  const name = `${withoutMonth(previous)} ${new Date(now).toISOString().slice(0, 'YYYY-MM'.length)}`;
  return previous.startsWith(name) ? `${name}${letterAfter(previous.slice(name.length))}` : name;
}

function letterAfter(letter: string): string {
  return letter === '' ? 'b' : String.fromCharCode(letter.charCodeAt(0) + 1);
}
