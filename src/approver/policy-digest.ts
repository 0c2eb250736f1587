import { createHash } from 'node:crypto';
import type { ApproverPolicy } from '../core/approver-policy.ts';
import { formatCidr } from '../core/cidr.ts';

const digests = new WeakMap<ApproverPolicy, string>();

/**
 * SHA-256 over the effective policy, in hexadecimal. Two files with the same values, or with and
 * without the defaults, have the same digest.
 */
export function policyDigest(policy: ApproverPolicy): string {
  const known = digests.get(policy);
  if (known !== undefined) return known;
  const digest = createHash('sha256').update(canonicalPolicy(policy)).digest('hex');
  digests.set(policy, digest);
  return digest;
}

/** The first characters are enough to compare two digests by eye. */
export function shortPolicyDigest(policy: ApproverPolicy): string {
  return policyDigest(policy).slice(0, 12);
}

function canonicalPolicy(policy: ApproverPolicy): string {
  const ranges = {
    allowedCidrs: policy.allowedCidrs?.map(formatCidr).sort(),
    deniedCidrs: policy.deniedCidrs.map(formatCidr).sort(),
    serviceCidrs: policy.serviceCidrs.map(formatCidr).sort(),
    podCidrs: policy.podCidrs?.map(formatCidr).sort(),
  };
  const names = {
    allowedDomains: policy.allowedDomains?.toSorted(),
    protectedNames: policy.protectedNames.toSorted(),
  };
  return JSON.stringify(sortedKeys({ ...policy, ...ranges, ...names }));
}

function sortedKeys(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  const entries = Object.entries(value).filter(([, inner]) => inner !== undefined);
  return Object.fromEntries(
    entries.sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, inner]) => [key, sortedKeys(inner)]),
  );
}
