import { randomBytes, randomUUID } from 'node:crypto';
import * as v from 'valibot';
import type { Instant } from '../../src/core/instant.ts';
import { formatInstant } from '../../src/core/instant.ts';
import type { ObjectMeta, Resource } from './api-object.ts';
import { groupVersion, qualifiedName } from './api-object.ts';
import { StatusError } from './status-error.ts';

const stringMap = v.record(v.string(), v.string());

/** The metadata that a client may set. The server sets the rest. */
export const metadataSchema = v.optional(
  v.object({
    name: v.optional(v.string(), ''),
    generateName: v.optional(v.string(), ''),
    uid: v.exactOptional(v.string()),
    resourceVersion: v.exactOptional(v.string()),
    labels: v.nullish(stringMap),
    annotations: v.nullish(stringMap),
  }),
  {},
);

export type MetadataBody = v.InferOutput<typeof metadataSchema>;

const typeSchema = v.object({
  apiVersion: v.optional(v.string(), ''),
  kind: v.optional(v.string(), ''),
});

/** Parses a client's body as an object of this resource. @throws StatusError BadRequest */
export function parseBody<TSchema extends v.GenericSchema>(
  schema: TSchema,
  body: unknown,
  resource: Resource,
): v.InferOutput<TSchema> {
  const type = v.safeParse(typeSchema, body);
  const wanted = `${groupVersion(resource)}, Kind=${resource.kind}`;
  if (!type.success) throw badBody(resource, v.summarize(type.issues));
  const found = `${type.output.apiVersion}, Kind=${type.output.kind}`;
  if (found !== wanted) throw badBody(resource, `found ${found}, not ${wanted}`);
  const parsed = v.safeParse(schema, body);
  if (!parsed.success) throw badBody(resource, v.summarize(parsed.issues));
  return parsed.output;
}

/** The complete metadata of a new object. @throws StatusError for a missing or invalid name */
export function newMetadata(body: MetadataBody, resource: Resource, now: Instant): ObjectMeta {
  const name = body.name === '' && body.generateName !== '' ? generate(body) : body.name;
  if (name === '') {
    throw nameError(
      resource,
      '',
      'metadata.name: Required value: name or generateName is required',
    );
  }
  if (!nameForm.test(name) || name.length > 253) {
    throw nameError(resource, name, 'metadata.name: Invalid value: not usable as a path segment');
  }
  return {
    name,
    ...(body.generateName !== '' && { generateName: body.generateName }),
    uid: randomUUID(),
    resourceVersion: '',
    creationTimestamp: formatInstant(now),
    ...(body.labels && { labels: body.labels }),
    ...(body.annotations && { annotations: body.annotations }),
  };
}

/**
 * Returns the metadata after an update of labels and annotations.
 * @throws StatusError Conflict for another uid or resourceVersion
 */
export function updatedMetadata(
  body: MetadataBody,
  current: ObjectMeta,
  resource: Resource,
): ObjectMeta {
  const stale =
    (body.uid !== undefined && body.uid !== '' && body.uid !== current.uid) ||
    (body.resourceVersion !== undefined &&
      body.resourceVersion !== '' &&
      body.resourceVersion !== current.resourceVersion);
  if (stale) {
    throw new StatusError(
      'Conflict',
      `Operation cannot be fulfilled on ${qualifiedName(resource)} ${JSON.stringify(current.name)}: ` +
        'the object has been modified; please apply your changes to the latest version and try again',
      { name: current.name, group: resource.group, kind: resource.plural },
    );
  }
  const { labels: _, annotations: __, ...rest } = current;
  return {
    ...rest,
    ...(body.labels && { labels: body.labels }),
    ...(body.annotations && { annotations: body.annotations }),
  };
}

/**
 * A CSR name may be any path segment, because the base64url of `node-csr-…` has
 * capitals and underscores.
 */
const nameForm = /^(?!\.{1,2}$)[^/%\s]+$/;

/** Adds five characters of upstream's alphabet, which has no vowels. */
function generate(body: MetadataBody): string {
  const alphabet = 'bcdfghjklmnpqrstvwxz2456789';
  const suffix = Array.from(randomBytes(5), (byte) => alphabet[byte % alphabet.length]).join('');
  return `${body.generateName}${suffix}`;
}

function nameError(resource: Resource, name: string, problem: string): StatusError {
  return new StatusError(
    'Invalid',
    `${resource.kind} ${JSON.stringify(name)} is invalid: ${problem}`,
    { name, group: resource.group, kind: resource.kind },
  );
}

function badBody(resource: Resource, problem: string): StatusError {
  return new StatusError(
    'BadRequest',
    `${resource.kind} in version ${JSON.stringify(resource.version)} cannot be handled as a ${resource.kind}: ${problem}`,
  );
}
