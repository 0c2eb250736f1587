import type { Resource } from './api-object.ts';
import { resources } from './api-object.ts';
import type { Verb } from './authorization.ts';
import type { ReviewKind } from './reviews.ts';
import { pluralOf, reviews } from './reviews.ts';
import { secretsPath } from './token-secret.ts';

/** A request for objects of a resource. */
export interface ResourceRequest {
  readonly kind: 'resource';
  readonly verb: Verb;
  readonly resource: Resource;
  readonly subresource?: string;
  /** From the path or the field selector. */
  readonly name?: string;
  readonly query: URLSearchParams;
}

/** A request for the health or the version of the server. */
export interface PathRequest {
  readonly kind: 'path';
  readonly path: string;
}

/** A review, which is answered and not stored. */
export interface ReviewRequest {
  readonly kind: 'review';
  readonly path: string;
  readonly review: ReviewKind;
}

/** A Secret can only be read, by name. */
export interface SecretRequest {
  readonly kind: 'secret';
  readonly path: string;
  readonly name: string;
}

export type RequestInfo =
  | ResourceRequest
  | ReviewRequest
  | SecretRequest
  | PathRequest
  | { readonly kind: 'not-found'; readonly path: string }
  | { readonly kind: 'method-not-allowed'; readonly path: string }
  | { readonly kind: 'bad-request'; readonly path: string; readonly problem: string };

const knownPaths: readonly string[] = ['/healthz', '/livez', '/readyz', '/version'];

const reviewPaths: ReadonlyMap<string, ReviewKind> = new Map(
  reviews.map(({ group, kind }) => [`/apis/${group}/v1/${pluralOf(kind)}`, kind]),
);

const namedVerbs: Readonly<Record<string, Verb>> = {
  GET: 'get',
  PUT: 'update',
  DELETE: 'delete',
};

/** Parses the method and the URL of a request. */
export function parseRequest(method: string, target: string): RequestInfo {
  const url = URL.parse(target, 'https://sandbox');
  const segments = url === null ? undefined : decodeSegments(url.pathname);
  if (url === null || segments === undefined) {
    return { kind: 'bad-request', path: target, problem: 'the URL cannot be read' };
  }
  const path = `/${segments.join('/')}`;
  if (knownPaths.includes(path)) {
    return method === 'GET' || method === 'HEAD'
      ? { kind: 'path', path }
      : { kind: 'method-not-allowed', path };
  }
  const other = otherRequest(method, path, segments);
  if (other !== undefined) return other;
  const resource = resources.find((candidate) => belongsTo(candidate, segments));
  if (resource === undefined) return { kind: 'not-found', path };
  const [name, subresource, ...rest] = segments.slice(prefixOf(resource).length);
  if (
    rest.length > 0 ||
    (subresource !== undefined && !resource.subresources.includes(subresource))
  ) {
    return { kind: 'not-found', path };
  }
  return name === undefined
    ? collectionRequest({ method, path, resource, query: url.searchParams })
    : namedRequest({ method, path, resource, name, subresource, query: url.searchParams });
}

function otherRequest(
  method: string,
  path: string,
  segments: readonly string[],
): RequestInfo | undefined {
  const review = reviewPaths.get(path);
  if (review !== undefined) {
    return method === 'POST'
      ? { kind: 'review', path, review }
      : { kind: 'method-not-allowed', path };
  }
  const [name, ...rest] = segments.slice(secretsPath.length);
  if (!secretsPath.every((segment, index) => segments[index] === segment)) return undefined;
  if (name === undefined || rest.length > 0) return undefined;
  return method === 'GET' ? { kind: 'secret', path, name } : { kind: 'method-not-allowed', path };
}

function namedRequest(parts: {
  readonly method: string;
  readonly path: string;
  readonly resource: Resource;
  readonly name: string;
  readonly subresource: string | undefined;
  readonly query: URLSearchParams;
}): RequestInfo {
  const { method, path, resource, name, subresource, query } = parts;
  const verb = namedVerbs[method];
  if (verb === undefined || (verb === 'delete' && subresource !== undefined)) {
    return { kind: 'method-not-allowed', path };
  }
  return {
    kind: 'resource',
    verb,
    resource,
    name,
    ...(subresource !== undefined && { subresource }),
    query,
  };
}

function collectionRequest(parts: {
  readonly method: string;
  readonly path: string;
  readonly resource: Resource;
  readonly query: URLSearchParams;
}): RequestInfo {
  const { method, path, resource, query } = parts;
  if (method === 'POST') return { kind: 'resource', verb: 'create', resource, query };
  if (method !== 'GET') return { kind: 'method-not-allowed', path };
  const selector = parseSelector(query);
  if ('problem' in selector) return { kind: 'bad-request', path, ...selector };
  const verb = ['true', '1'].includes(query.get('watch') ?? '') ? 'watch' : 'list';
  return { kind: 'resource', verb, resource, ...selector, query };
}

/**
 * Only `metadata.name=` is supported. To ignore another selector would return wrong
 * results silently.
 */
function parseSelector(query: URLSearchParams): { name?: string } | { problem: string } {
  const labels = query.get('labelSelector') ?? '';
  if (labels !== '')
    return { problem: `labelSelector ${labels}: label selectors are not supported` };
  const selector = query.get('fieldSelector') ?? '';
  if (selector === '') return {};
  const name = /^metadata\.name==?([^,=!]+)$/.exec(selector)?.[1];
  return name === undefined
    ? { problem: `fieldSelector ${selector}: only metadata.name=NAME is supported` }
    : { name };
}

function prefixOf(resource: Resource): readonly string[] {
  const root = resource.group === '' ? ['api'] : ['apis', resource.group];
  return [...root, resource.version, resource.plural];
}

function belongsTo(resource: Resource, segments: readonly string[]): boolean {
  return prefixOf(resource).every((segment, index) => segments[index] === segment);
}

function decodeSegments(pathname: string): string[] | undefined {
  try {
    return pathname
      .split('/')
      .filter((segment) => segment !== '')
      .map(decodeURIComponent);
  } catch {
    return undefined;
  }
}
