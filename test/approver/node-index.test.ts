import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { NodeIndex } from '../../src/approver/node-index.ts';
import { cidrContains, parseCidr } from '../../src/core/cidr.ts';
import { cidrs, ips, node } from './cluster.ts';

const names = (nodes: Iterable<{ readonly name: string }>): string[] =>
  [...nodes].map(({ name }) => name).sort();

describe('NodeIndex', () => {
  it('finds the Nodes that have a name or an address', () => {
    const index = new NodeIndex();
    index.put(node(), 0);
    index.put(node({ name: 'n2', addresses: [{ type: 'InternalIP', address: '10.100.0.2' }] }), 0);
    assert.deepEqual(names(index.claimants('ip:10.100.0.2')), ['n1', 'n2']);
    assert.deepEqual(names(index.claimants('dns:n1')), ['n1']);
    assert.deepEqual(names(index.claimants('dns:n2')), []);
  });

  it('forgets what a Node no longer has', () => {
    const index = new NodeIndex();
    index.put(node({ podCidrs: ['10.244.0.0/24'] }), 0);
    index.put(node({ addresses: [] }), 0);
    assert.deepEqual(names(index.claimants('dns:n1')), []);
    assert.equal(index.podRangeOf(ips(['10.244.0.1'])[0] ?? new Uint8Array()), undefined);
    assert.equal(index.size, 1);
    index.remove('n1', 5);
    assert.equal(index.get('n1'), undefined);
  });

  it('knows when a Node of the same name with another uid was last seen', () => {
    const index = new NodeIndex();
    index.put(node({ uid: 'a' }), 1);
    assert.equal(index.earlierSeenAt('n1'), undefined);
    index.put(node({ uid: 'b' }), 7);
    assert.equal(index.earlierSeenAt('n1'), 7);
    index.remove('n1', 9);
    assert.equal(index.earlierSeenAt('n1'), 9);
    index.forgetEarlier(10);
    assert.equal(index.earlierSeenAt('n1'), undefined);
  });

  it('finds a Pod range as a search through all ranges does', () => {
    const range = fc
      .tuple(fc.nat(3), fc.nat(255), fc.integer({ min: 8, max: 32 }))
      .map(([b, c, prefix]) => `10.${b}.${c}.0/${prefix}`);
    const address = fc
      .tuple(fc.nat(3), fc.nat(255), fc.nat(3))
      .map((parts) => `10.${parts.join('.')}`);
    fc.assert(
      fc.property(fc.array(range, { maxLength: 8 }), address, (ranges, text) => {
        const index = new NodeIndex();
        for (const [at, cidr] of ranges.entries()) {
          index.put(node({ name: `n${at}`, podCidrs: [cidr] }), 0);
        }
        const [ip = new Uint8Array()] = ips([text]);
        const found = index.podRangeOf(ip);
        assert.equal(
          found !== undefined,
          cidrs(ranges).some((cidr) => cidrContains(cidr, ip)),
        );
        if (found === undefined) return;
        assert.ok(cidrContains(found.cidr, ip));
        const own = parseCidr(index.get(found.node)?.podCidrs[0] ?? '');
        assert.equal(own?.prefix, found.cidr.prefix);
      }),
      { numRuns: 300 },
    );
  });
});
