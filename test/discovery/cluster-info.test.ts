import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseClusterInfo } from '../../src/discovery/cluster-info.ts';

const metadata = { name: 'cluster-info', namespace: 'kube-public' };
const configMap = { kind: 'ConfigMap', apiVersion: 'v1', metadata };

const parse = (value: unknown): ReturnType<typeof parseClusterInfo> =>
  parseClusterInfo(Buffer.from(JSON.stringify(value)));

describe('parseClusterInfo()', () => {
  it('returns the kubeconfig and the signatures by token id', () => {
    const data = {
      kubeconfig: 'text',
      'jws-kubeconfig-abcdef': 'a..b',
      'jws-kubeconfig-ghijkl': 'c..d',
      'jws-kubeconfig-too-long': 'e..f',
      other: 'g',
    };
    const info = parse({ ...configMap, data });
    assert.equal(info?.kubeconfig, 'text');
    assert.deepEqual(Object.fromEntries(info?.signatures ?? []), {
      abcdef: 'a..b',
      ghijkl: 'c..d',
    });
  });

  it('returns an empty kubeconfig for a ConfigMap without one', () => {
    for (const value of [configMap, { ...configMap, data: null }, { ...configMap, data: {} }]) {
      assert.deepEqual(parse(value), { kubeconfig: '', signatures: new Map() });
    }
  });

  const others: Readonly<Record<string, unknown>> = {
    'a Status': { kind: 'Status', apiVersion: 'v1' },
    'a ConfigMap of another name': { ...configMap, metadata: { ...metadata, name: 'other' } },
    'a ConfigMap of another namespace': {
      ...configMap,
      metadata: { ...metadata, namespace: 'default' },
    },
    'data that is not text': { ...configMap, data: { kubeconfig: 1 } },
    'a list': [],
    null: null,
  };
  for (const [what, value] of Object.entries(others)) {
    it(`returns undefined for ${what}`, () => {
      assert.equal(parse(value), undefined);
    });
  }

  for (const text of ['', '<html></html>', '{"kind":', '\0\xff']) {
    it(`returns undefined for ${JSON.stringify(text)}`, () => {
      assert.equal(parseClusterInfo(Buffer.from(text, 'latin1')), undefined);
    });
  }
});
