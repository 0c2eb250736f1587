/** The host for a client on this machine: it cannot connect to a wildcard address, so it uses loopback. */
export function localHost(listening: string): string {
  if (listening === '0.0.0.0') return '127.0.0.1';
  return listening === '::' ? '::1' : listening;
}
