import * as v from 'valibot';
import type { Resource } from './api-object.ts';
import { resources } from './api-object.ts';
import type { Approvals, User, Verb } from './authorization.ts';
import { authorizePath, authorizeResource } from './authorization.ts';
import { StatusError } from './status-error.ts';

/**
 * The reviews that every authenticated user may create (system:basic-user). They are
 * not stored.
 */
export const reviews = [
  { group: 'authorization.k8s.io', kind: 'SelfSubjectAccessReview' },
  { group: 'authentication.k8s.io', kind: 'SelfSubjectReview' },
] as const;

export type ReviewKind = (typeof reviews)[number]['kind'];

/** The plural in a URL. */
export function pluralOf(kind: ReviewKind): string {
  return `${kind.toLowerCase()}s`;
}

const text = v.optional(v.string(), '');

const accessSchema = v.object({
  kind: v.literal('SelfSubjectAccessReview'),
  spec: v.object({
    resourceAttributes: v.nullish(
      v.object({
        verb: text,
        group: text,
        resource: text,
        subresource: text,
        name: text,
        namespace: text,
      }),
    ),
    nonResourceAttributes: v.nullish(v.object({ path: text, verb: text })),
  }),
});

/** @throws StatusError BadRequest, Invalid */
export function answerReview(
  kind: ReviewKind,
  body: unknown,
  { user, approvals }: { readonly user: User; readonly approvals: Approvals },
): object {
  if (kind === 'SelfSubjectReview') {
    const { username, groups } = user;
    const apiVersion = 'authentication.k8s.io/v1';
    return { kind, apiVersion, metadata: {}, status: { userInfo: { username, groups } } };
  }
  const parsed = v.safeParse(accessSchema, body);
  if (!parsed.success) {
    throw new StatusError('BadRequest', `invalid ${kind}: ${v.summarize(parsed.issues)}`);
  }
  const { spec } = parsed.output;
  const allowed = isAllowed(spec, user, approvals);
  const apiVersion = 'authorization.k8s.io/v1';
  return { kind, apiVersion, metadata: {}, spec, status: { allowed } };
}

function isAllowed(
  { resourceAttributes, nonResourceAttributes }: v.InferOutput<typeof accessSchema>['spec'],
  user: User,
  approvals: Approvals,
): boolean {
  if (nonResourceAttributes) {
    return (
      nonResourceAttributes.verb === 'get' && authorizePath(user, nonResourceAttributes.path).ok
    );
  }
  if (!resourceAttributes) {
    throw new StatusError(
      'Invalid',
      'SelfSubjectAccessReview "" is invalid: spec.resourceAttributes: Required value: exactly one of nonResourceAttributes or resourceAttributes must be specified',
    );
  }
  const { verb, group, resource, subresource, name } = resourceAttributes;
  return authorizeResource(
    user,
    {
      verb: verb as Verb,
      resource: resourceNamed(group, resource),
      ...(subresource !== '' && { subresource }),
      ...(name !== '' && { name }),
    },
    approvals,
  ).ok;
}

/** A review may name a resource that does not exist. */
function resourceNamed(group: string, plural: string): Resource {
  const served = resources.find((known) => known.group === group && known.plural === plural);
  const other = { version: 'v1', kind: plural };
  return served ?? { ...other, group, plural, subresources: [] };
}
