const unitSeconds: Readonly<Record<string, number>> = { ms: 0.001, s: 1, m: 60, h: 3_600 };
const part = /(\d+(?:\.\d+)?)(ms|s|m|h)/g;
const whole = /^(?:\d+(?:\.\d+)?(?:ms|s|m|h))+$/;

/**
 * The seconds of a duration such as `90s` or `1h30m`, in the syntax of Go's time.ParseDuration;
 * undefined for other text. No sign, and no unit below `ms`.
 */
export function parseDuration(text: string): number | undefined {
  if (!whole.test(text)) return undefined;
  const seconds = [...text.matchAll(part)].reduce(
    (sum, [, count, unit]) => sum + Number(count) * (unitSeconds[unit ?? ''] ?? 0),
    0,
  );
  return Math.round(seconds * 1_000) / 1_000;
}
