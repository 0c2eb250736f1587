import { dirname, resolve } from 'node:path';
import * as v from 'valibot';
import type { ApproverPolicy } from '../core/approver-policy.ts';
import { approverModes, defaultApproverPolicy as standard } from '../core/approver-policy.ts';
import type { Cidr } from '../core/cidr.ts';
import { formatCidr, formatIp, parseCidr, parseIp } from '../core/cidr.ts';
import { second } from '../core/instant.ts';
import { parseDuration } from './duration.ts';
import { isDnsName } from '../core/host-name.ts';
import { parseDocument } from './parse-document.ts';
import { readText } from './read-text.ts';
import { apiVersion } from './schema.ts';

/** The shape of the policy file. docs/approver.md lists every key, and a test compares them. */

const expectCidr = 'expected a range of addresses such as 10.0.0.0/8';

/** Bits after the prefix are usually a mistake in the address or in the prefix, so they are refused. */
export const cidrSchema = v.pipe(
  v.string(expectCidr),
  v.check((text) => parseCidr(text) !== undefined, expectCidr),
  v.check(
    hasNoHostBits,
    (issue) => `expected ${rangeAround(issue.input)}, the range without bits after the prefix`,
  ),
  v.transform((text): Cidr => {
    const cidr = parseCidr(text);
    if (cidr === undefined) throw new Error('checked above');
    return cidr;
  }),
);

function hasNoHostBits(text: string): boolean {
  const cidr = parseCidr(text);
  const ip = parseIp(text.slice(0, text.indexOf('/')));
  return cidr === undefined || ip === undefined || formatIp(cidr.address) === formatIp(ip);
}

function rangeAround(text: string): string {
  const cidr = parseCidr(text);
  return cidr === undefined ? 'a range' : formatCidr(cidr);
}

const atLeastOne = 'expected at least one entry; remove the key to allow everything';

const domain = v.pipe(
  v.string(),
  v.transform((text) => text.toLowerCase().replace(/\.$/, '')),
  v.check(
    (name) => isDnsName(name) && !name.includes('*'),
    'expected a domain such as example.com',
  ),
);

export const nameSchema = v.pipe(
  v.string(),
  v.transform((text) => text.toLowerCase().replace(/\.$/, '')),
  v.check((name) => isDnsName(name) && !name.includes('*'), 'expected a DNS name'),
);

const wholeNumber = 'expected a whole number that is not negative';
const path = v.pipe(v.string(), v.nonEmpty('expected a path'));

export const policySchema = v.strictObject({
  apiVersion: v.literal(apiVersion),
  kind: v.literal('ApproverPolicy'),
  mode: v.optional(v.picklist(approverModes), standard.mode),
  mismatchGrace: v.optional(
    v.pipe(
      v.string(),
      v.check((text) => parseDuration(text) !== undefined, 'expected a duration such as 60s'),
      v.check((text) => (parseDuration(text) ?? 0) <= 3_600, 'expected at most 1h'),
    ),
    '60s',
  ),
  allowedCIDRs: v.optional(v.pipe(v.array(cidrSchema), v.nonEmpty(atLeastOne))),
  deniedCIDRs: v.optional(v.array(cidrSchema), []),
  allowedDomains: v.optional(v.pipe(v.array(domain), v.nonEmpty(atLeastOne))),
  protectedNames: v.optional(v.array(nameSchema), []),
  serviceCIDRs: v.optional(v.array(cidrSchema), []),
  podCIDRs: v.optional(v.array(cidrSchema)),
  match: v.optional(v.picklist(['subset', 'exact']), standard.match),
  maxExpirationSeconds: v.optional(
    v.pipe(
      v.number(),
      v.check(
        (value) => Number.isInteger(value) && value >= 600 && value <= 2_147_483_647,
        'expected a whole number from 600 to 2147483647',
      ),
    ),
    standard.maxExpirationSeconds,
  ),
  foreignRequestors: v.optional(v.picklist(['ignore', 'deny']), standard.foreignRequestors),
  allowLinkLocal: v.optional(v.boolean(), standard.allowLinkLocal),
  maxDecisionsPerSecond: v.optional(
    v.pipe(
      v.number(),
      v.check((value) => Number.isInteger(value) && value >= 0, wholeNumber),
    ),
    standard.maxDecisionsPerSecond,
  ),
  sources: v.optional(
    v.strictObject({
      inventory: v.optional(v.strictObject({ file: path })),
      machine: v.optional(v.strictObject({ kubeconfig: v.optional(path) })),
    }),
    {},
  ),
});

const textKind = { what: 'the policy', option: '--policy', maxMiB: 1 };

/** @throws AgentError CONFIG_UNREADABLE, or CONFIG_INVALID with one line for each problem */
export async function loadApproverPolicy(file: string): Promise<ApproverPolicy> {
  return parseApproverPolicy(await readText(file, textKind), file);
}

/**
 * @param file for the places of problems, and the folder of relative paths
 * @throws AgentError CONFIG_INVALID
 */
export function parseApproverPolicy(text: string, file: string): ApproverPolicy {
  const policy = parseDocument(text, file, policySchema);
  const { inventory, machine } = policy.sources;
  const at = (path: string): string => resolve(dirname(file), path);
  return {
    mode: policy.mode,
    mismatchGrace: (parseDuration(policy.mismatchGrace) ?? 0) * second,
    allowedCidrs: policy.allowedCIDRs,
    deniedCidrs: policy.deniedCIDRs,
    allowedDomains: policy.allowedDomains,
    protectedNames: policy.protectedNames,
    serviceCidrs: policy.serviceCIDRs,
    podCidrs: policy.podCIDRs,
    match: policy.match,
    maxExpirationSeconds: policy.maxExpirationSeconds,
    foreignRequestors: policy.foreignRequestors,
    allowLinkLocal: policy.allowLinkLocal,
    maxDecisionsPerSecond: policy.maxDecisionsPerSecond,
    sources: {
      ...(inventory && { inventory: { file: at(inventory.file) } }),
      ...(machine && {
        machine: machine.kubeconfig === undefined ? {} : { kubeconfig: at(machine.kubeconfig) },
      }),
    },
  };
}
