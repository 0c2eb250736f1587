import { isIP } from 'node:net';

/**
 * Whether a request's Host header may be answered. A page in somebody's browser can
 * point a name of its own at this machine's address and read what comes back (DNS
 * rebinding); it cannot make the browser send another name than its own. So only
 * names that such a page cannot have are taken: addresses, localhost, and the
 * names this agent itself goes by.
 *
 * @param host the header; HTTP/1.0 probes send none, browsers always do
 * @param names the configured host and the node's name
 */
export function isTrustedHost(host: string | undefined, names: readonly string[]): boolean {
  if (host === undefined) return true;
  const name = hostName(host);
  if (name === undefined) return false;
  return (
    isIP(name) !== 0 || name === 'localhost' || names.some((own) => own.toLowerCase() === name)
  );
}

/** The name or address in `name`, `name:port`, `[v6]` or `[v6]:port`, in lower case; undefined if it is none of these. */
function hostName(host: string): string | undefined {
  const parts = /^(?:\[([0-9a-f:.]+)\]|([^:[\]/@\s]+?)\.?)(?::\d{1,5})?$/i.exec(host);
  return (parts?.[1] ?? parts?.[2])?.toLowerCase();
}
