import { isIP } from 'node:net';

/**
 * Whether to answer a request with this Host header. A web page can point a name of its
 * own at this machine's address and read the response (DNS rebinding), but the browser
 * then sends that name. So only names that such a page cannot own are accepted: IP
 * addresses, localhost, and the names of this agent.
 *
 * @param host the header; HTTP/1.0 probes send none, browsers always do
 * @param names the configured host and the node name
 */
export function isTrustedHost(host: string | undefined, names: readonly string[]): boolean {
  if (host === undefined) return true;
  const name = hostName(host);
  if (name === undefined) return false;
  return (
    isIP(name) !== 0 || name === 'localhost' || names.some((own) => own.toLowerCase() === name)
  );
}

/** The name or address in `name`, `name:port`, `[v6]` or `[v6]:port`, in lower case; undefined for anything else. */
function hostName(host: string): string | undefined {
  const parts = /^(?:\[([0-9a-f:.]+)\]|([^:[\]/@\s]+?)\.?)(?::\d{1,5})?$/i.exec(host);
  return (parts?.[1] ?? parts?.[2])?.toLowerCase();
}
