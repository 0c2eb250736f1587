/**
 * The host for a client on this machine. A wildcard address is not a destination, so the client
 * uses loopback.
 */
export function localHost(listening: string): string {
  if (listening === '0.0.0.0') return '127.0.0.1';
  return listening === '::' ? '::1' : listening;
}
