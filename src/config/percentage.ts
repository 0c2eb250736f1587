const pattern = /^\d{1,3}(?:\.\d{1,3})?%$/;

/** The fraction of a percentage such as `70%` or `66.7%`; undefined for other text. */
export function parsePercentage(text: string): number | undefined {
  if (!pattern.test(text)) return undefined;
  return Math.round(Number(text.slice(0, -1)) * 1_000) / 100_000;
}
