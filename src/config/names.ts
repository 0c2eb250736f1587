/** RFC 1123 label, the alphabet of everything Kubernetes names. */
const label = '[a-z0-9](?:[-a-z0-9]*[a-z0-9])?';
export const subdomainPattern = new RegExp(`^${label}(?:\\.${label})*$`);

/** A host name as a certificate may carry it; a wildcard stands for the leftmost label (RFC 6125 6.4.3). */
export function isDnsName(text: string): boolean {
  const name = text.toLowerCase().replace(/^\*\.(?=.)/, '');
  return (
    name.length <= 253 &&
    subdomainPattern.test(name) &&
    name.split('.').every((part) => part.length <= 63)
  );
}

/** What a TLS client may ask for by SNI: a name, not a pattern for names, nor an address (RFC 6066 3). */
export function isHostName(text: string): boolean {
  return isDnsName(text) && !text.includes('*') && !/^[\d.]+$/.test(text);
}

/** What the API server takes as the name of a Node: a DNS-1123 subdomain. */
export function isNodeName(text: string): boolean {
  return text.length <= 253 && subdomainPattern.test(text);
}

/**
 * `domain/path` with a domain of at least two labels, as ValidateSignerName in
 * k8s.io/kubernetes/pkg/apis/certificates/validation has it.
 */
export function isSignerName(text: string): boolean {
  const [domain = '', path = '', ...rest] = text.split('/');
  return (
    rest.length === 0 &&
    text.length <= 571 &&
    domain.includes('.') &&
    isNodeName(domain) &&
    isNodeName(path)
  );
}

/**
 * The name of a unit that can be reloaded, restarted or signalled, as systemd.unit(5) has
 * it: no pattern, which systemctl would take for several units, and no option.
 */
export function isUnitName(text: string): boolean {
  return text.length <= 255 && /^[\w:.\\@][\w:.\\@-]*\.(?:service|socket|target)$/.test(text);
}

/** Why the text cannot be the prefix of files in the certificate directory, or undefined when it can. */
export function prefixObjection(name: string): string | undefined {
  if (name.length > 63 || !new RegExp(`^${label}$`).test(name)) {
    return 'expected at most 63 of the characters a-z, 0-9 and -, with a letter or digit at both ends';
  }
  // Such a name would read as another certificate's link or pair: `a` keeps `a-current.pem`.
  if (/-(?:current|updated)$/.test(name)) {
    return 'must not end in -current or -updated, which name the links of another certificate';
  }
  return /\d{4}(?:-\d{2}){5}/.test(name)
    ? 'must not contain a timestamp, which names the pairs of another certificate'
    : undefined;
}
