/** The permissions in octal, as chmod accepts them: `0755`. */
export function showMode(mode: number): string {
  return (mode & 0o7777).toString(8).padStart(4, '0');
}
