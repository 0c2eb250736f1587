/** Live drawing needs a terminal that supports it; other outputs get plain lines. */
export function canDrawLive(
  stream: { readonly isTTY?: boolean },
  variables: Readonly<Record<string, string | undefined>>,
): boolean {
  return stream.isTTY === true && variables['TERM'] !== 'dumb';
}

/** Any nonempty value of NO_COLOR turns colors off (https://no-color.org). */
export function wantsColor(variables: Readonly<Record<string, string | undefined>>): boolean {
  return (variables['NO_COLOR'] ?? '') === '';
}
