import type { Instant } from '../core/instant.ts';

/*
 * The names of the kubelet's certificate store (client-go,
 * util/certificate/certificate_store.go). The patterns match whole names, so that
 * `kubelet-server` does not match files of `kubelet-server-2`.
 */

export interface SplitPairFiles {
  readonly certificate: string;
  readonly key: string;
}

/** A kubelet creates this link, removes the current link, and renames this link to it. */
export function updatedLink(name: string): string {
  return `${name}-updated.pem`;
}

/** In local time, like the kubelet. `attempt` numbers the key pairs of one second. */
export function pairFile(name: string, moment: Instant, attempt = 0): string {
  return `${name}-${localTimestamp(moment)}${suffix(attempt)}.pem`;
}

export function isPairFile(name: string, file: string): boolean {
  return file.startsWith(`${name}-`) && pairPattern.test(file.slice(name.length + 1));
}

/** The name of a corrupt file that was set aside, which no longer matches a key pair. */
export function setAsideFile(file: string, moment: Instant, attempt = 0): string {
  return `${file}.corrupt-${localTimestamp(moment)}${suffix(attempt)}`;
}

/**
 * The second name of a key pair that was rolled back. It marks the key pair and keeps it for
 * inspection.
 */
export function rolledBackFile(file: string, moment: Instant, attempt = 0): string {
  return `${file}.rolled-back-${localTimestamp(moment)}${suffix(attempt)}`;
}

/** The first name of a key pair that was rolled back; undefined for other files. */
export function rolledBackPair(name: string, file: string): string | undefined {
  const pair = /^(.+\.pem)\.rolled-back-/.exec(file)?.[1];
  if (pair === undefined || !isPairFile(name, pair)) return undefined;
  return setAsideMoment(name, file) === undefined ? undefined : pair;
}

/**
 * When a file of this name was set aside, as text that sorts by time; undefined for other
 * files.
 */
export function setAsideMoment(name: string, file: string): string | undefined {
  if (!file.startsWith(`${name}-`)) return undefined;
  return setAsidePattern.exec(file.slice(name.length + 1))?.groups?.['moment'];
}

/**
 * Files with a separate certificate and key: the fallback of the kubelet's store, and the
 * serving certificate that a kubelet signs itself.
 */
export function splitPairFiles(name: string): SplitPairFiles[] {
  const stems = name === 'kubelet-server' ? [name, 'kubelet'] : [name];
  return stems.map((stem) => ({ certificate: `${stem}.crt`, key: `${stem}.key` }));
}

const timestamp = String.raw`\d{4}(?:-\d{2}){5}`;
const pairPattern = new RegExp(String.raw`^${timestamp}(?:-\d+)?\.pem$`);
const setAsidePattern = new RegExp(
  String.raw`^(?:current|${timestamp}(?:-\d+)?)\.pem\.(?:corrupt|rolled-back)-(?<moment>${timestamp}(?:-\d+)?)$`,
);

/** `2026-11-22-19-05-00`: Go's layout 2006-01-02-15-04-05. */
export function localTimestamp(moment: Instant): string {
  const date = new Date(moment);
  const year = String(date.getFullYear()).padStart(4, '0');
  const rest = [
    date.getMonth() + 1,
    date.getDate(),
    date.getHours(),
    date.getMinutes(),
    date.getSeconds(),
  ];
  return [year, ...rest.map((part) => String(part).padStart(2, '0'))].join('-');
}

function suffix(attempt: number): string {
  return attempt === 0 ? '' : `-${attempt}`;
}
