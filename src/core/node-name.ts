/** A label of RFC 1123. Kubernetes names consist of such labels. */
export const dnsLabel = '[a-z0-9](?:[-a-z0-9]*[a-z0-9])?';
export const subdomainPattern = new RegExp(`^${dnsLabel}(?:\\.${dnsLabel})*$`);

/** A name that the API server accepts for a Node: a DNS-1123 subdomain. */
export function isNodeName(text: string): boolean {
  return text.length <= 253 && subdomainPattern.test(text);
}

/** The node that a user name such as `system:node:n1` names; undefined for any other user name. */
export function nodeOfUser(username: string): string | undefined {
  if (!username.startsWith(nodeUserPrefix)) return undefined;
  const name = username.slice(nodeUserPrefix.length);
  return isNodeName(name) ? name : undefined;
}

const nodeUserPrefix = 'system:node:';
