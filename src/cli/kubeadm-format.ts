import type { Instant } from '../core/instant.ts';
import { day, hour, minute, second } from '../core/instant.ts';

const months = 'Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec'.split(' ');

/** `Nov 28, 2027 09:05 UTC`, as kubeadm shows a date. */
export function kubeadmDate(instant: Instant): string {
  const date = new Date(instant);
  const month = months[date.getUTCMonth()] ?? '';
  const time = `${twoDigits(date.getUTCHours())}:${twoDigits(date.getUTCMinutes())}`;
  return `${month} ${twoDigits(date.getUTCDate())}, ${date.getUTCFullYear()} ${time} UTC`;
}

function twoDigits(value: number): string {
  return String(value).padStart(2, '0');
}

/**
 * `364d`, `9y`, `3h20m`: HumanDuration of k8s.io/apimachinery (pkg/util/duration/duration.go),
 * which kubeadm and kubectl use.
 */
export function kubeadmDuration(ms: number): string {
  const seconds = Math.trunc(ms / second);
  if (seconds < -1) return '<invalid>';
  if (seconds < 0) return '0s';
  if (seconds < 120) return `${seconds}s`;
  const minutes = Math.trunc(ms / minute);
  if (minutes < 10) return twoUnits([minutes, 'm'], [seconds % 60, 's']);
  if (minutes < 180) return `${minutes}m`;
  const hours = Math.trunc(ms / hour);
  if (hours < 8) return twoUnits([hours, 'h'], [minutes % 60, 'm']);
  if (hours < 48) return `${hours}h`;
  const days = Math.trunc(ms / day);
  if (hours < 24 * 8) return twoUnits([days, 'd'], [hours % 24, 'h']);
  if (hours < 24 * 365 * 2) return `${days}d`;
  const years = Math.trunc(days / 365);
  if (hours < 24 * 365 * 8) return twoUnits([years, 'y'], [days % 365, 'd']);
  return `${years}y`;
}

function twoUnits(
  [large, largeUnit]: readonly [number, string],
  [small, smallUnit]: readonly [number, string],
): string {
  return `${large}${largeUnit}${small === 0 ? '' : `${small}${smallUnit}`}`;
}
