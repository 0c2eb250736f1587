/** Live drawing needs a terminal that understands it; everything else gets lines. */
export function canDrawLive(
  stream: { readonly isTTY?: boolean },
  variables: Readonly<Record<string, string | undefined>>,
): boolean {
  return stream.isTTY === true && variables['TERM'] !== 'dumb';
}

/** Any value of NO_COLOR but the empty one turns colors off (https://no-color.org). */
export function wantsColor(variables: Readonly<Record<string, string | undefined>>): boolean {
  return (variables['NO_COLOR'] ?? '') === '';
}
