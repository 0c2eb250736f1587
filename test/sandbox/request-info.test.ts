import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseRequest } from './request-info.ts';

const csrs = '/apis/certificates.k8s.io/v1/certificatesigningrequests';

/** `verb plural[/subresource] [name]`, or the kind of the result. */
function summary(method: string, target: string): string {
  const info = parseRequest(method, target);
  if (info.kind !== 'resource') return info.kind;
  const path = [info.resource.plural, info.subresource].filter(Boolean).join('/');
  return [info.verb, path, info.name].filter(Boolean).join(' ');
}

const rows: readonly (readonly [method: string, target: string, expected: string])[] = [
  ['GET', csrs, 'list certificatesigningrequests'],
  ['GET', `${csrs}?limit=500`, 'list certificatesigningrequests'],
  ['GET', `${csrs}?watch=true`, 'watch certificatesigningrequests'],
  ['GET', `${csrs}?watch=1`, 'watch certificatesigningrequests'],
  ['GET', `${csrs}?watch=false`, 'list certificatesigningrequests'],
  ['GET', `${csrs}?fieldSelector=metadata.name%3Da`, 'list certificatesigningrequests a'],
  [
    'GET',
    `${csrs}?watch=true&fieldSelector=metadata.name==a`,
    'watch certificatesigningrequests a',
  ],
  ['GET', `${csrs}?fieldSelector=spec.signerName%3Da`, 'bad-request'],
  ['GET', `${csrs}?fieldSelector=metadata.name!%3Da`, 'bad-request'],
  ['GET', `${csrs}?fieldSelector=metadata.name%3Da,metadata.name%3Db`, 'bad-request'],
  ['GET', `${csrs}?labelSelector=a%3Db`, 'bad-request'],
  ['POST', csrs, 'create certificatesigningrequests'],
  ['GET', `${csrs}/a`, 'get certificatesigningrequests a'],
  ['GET', `${csrs}/a%2Fb`, 'get certificatesigningrequests a/b'],
  ['PUT', `${csrs}/a`, 'update certificatesigningrequests a'],
  ['PATCH', `${csrs}/a/status`, 'method-not-allowed'],
  ['PUT', `${csrs}/a/approval`, 'update certificatesigningrequests/approval a'],
  ['DELETE', `${csrs}/a`, 'delete certificatesigningrequests a'],
  ['DELETE', csrs, 'method-not-allowed'],
  ['DELETE', `${csrs}/a/status`, 'method-not-allowed'],
  ['POST', `${csrs}/a`, 'method-not-allowed'],
  ['GET', `${csrs}/a/scale`, 'not-found'],
  ['GET', `${csrs}/a/status/b`, 'not-found'],
  ['GET', `${csrs}/%zz`, 'bad-request'],
  ['GET', '/api/v1/nodes/n1', 'get nodes n1'],
  ['GET', '/api/v1/nodes/n1/approval', 'not-found'],
  ['GET', '/api/v1/pods', 'not-found'],
  ['GET', '/apis/certificates.k8s.io/v1beta1/certificatesigningrequests', 'not-found'],
  ['GET', '/healthz', 'path'],
  ['HEAD', '/healthz', 'path'],
  ['POST', '/healthz', 'method-not-allowed'],
  ['GET', '/version', 'path'],
  ['GET', '/apis/certificates.k8s.io/v1', 'not-found'],
  ['GET', '/', 'not-found'],
  ['GET', '//', 'bad-request'],
];

describe('parseRequest()', () => {
  for (const [method, target, expected] of rows) {
    it(`reads ${method} ${target} as ${expected}`, () => {
      assert.equal(summary(method, target), expected);
    });
  }
});
