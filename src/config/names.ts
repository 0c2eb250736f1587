import { dnsLabel, isNodeName } from '../core/node-name.ts';

/**
 * `domain/path` with at least two labels in the domain, as in ValidateSignerName of
 * k8s.io/kubernetes/pkg/apis/certificates/validation.
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
 * The name of a unit that can be reloaded, restarted or signaled, as in systemd.unit(5).
 * Excludes patterns, which match several units, and options.
 */
export function isUnitName(text: string): boolean {
  return text.length <= 255 && /^[\w:.\\@][\w:.\\@-]*\.(?:service|socket|target)$/.test(text);
}

/**
 * The reason why a name cannot be a prefix of files in the certificate directory; undefined for
 * a valid prefix.
 */
export function prefixObjection(name: string): string | undefined {
  if (name.length > 63 || !new RegExp(`^${dnsLabel}$`).test(name)) {
    return 'expected at most 63 characters from a-z, 0-9 and -, with a letter or digit at both ends';
  }
  // Such a name would match files of another certificate: `a` has `a-current.pem`.
  if (/-(?:current|updated)$/.test(name)) {
    return 'must not end in -current or -updated, because links of other certificates have such names';
  }
  return /\d{4}(?:-\d{2}){5}/.test(name)
    ? 'must not contain a timestamp, because files of other certificates have such names'
    : undefined;
}
