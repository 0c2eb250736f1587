import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { evaluate } from '../../src/approver/evaluate.ts';
import type { NodeAddress } from '../../src/core/enroller-protocol.ts';
import { minute } from '../../src/core/instant.ts';
import { afterGrace, createdAt, decide, factsOf, node, policy, servingCsr } from './cluster.ts';
import { dns, ip } from './requests.ts';

const label = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?$/);
/** Not below svc, and not an address. */
const name = fc
  .array(label, { minLength: 1, maxLength: 4 })
  .map((labels) => labels.join('.'))
  .filter((text) => !/(?:^|\.)svc(?:\.|$)|^\d+(?:\.\d+){3}$|^(?:localhost|kubernetes)/.test(text));
const ipv4 = fc.tuple(fc.nat(255), fc.nat(255)).map(([c, d]) => `10.200.${c}.${d}`);
const ipv6 = fc.nat(0xffff).map((last) => `fd00:2::${last.toString(16)}`);

interface Owned {
  readonly address: NodeAddress;
  readonly altName: Uint8Array;
}

const ownedName = fc
  .tuple(
    name,
    fc.constantFrom('Hostname', 'InternalDNS', 'ExternalDNS'),
    fc.boolean(),
    fc.boolean(),
  )
  .map(([text, type, isUpper, hasDot]): Owned => {
    const written = `${isUpper ? text.toUpperCase() : text}${hasDot ? '.' : ''}`;
    return { address: { type, address: written }, altName: dns(text) };
  });
const ownedIp = fc
  .tuple(fc.oneof(ipv4, ipv6), fc.constantFrom('InternalIP', 'ExternalIP', 'Hostname'))
  .map(([address, type]): Owned => ({ address: { type, address }, altName: ip(address) }));
const owned = fc.array(fc.oneof(ownedName, ownedIp), { minLength: 1, maxLength: 12 });

function keyOf({ altName }: Owned): string {
  return Buffer.from(altName).toString('hex');
}

describe('evaluate()', () => {
  it('approves any SANs that the Node has, in any form', () => {
    fc.assert(
      fc.property(owned, fc.infiniteStream(fc.boolean()), (all, picks) => {
        const chosen = all.filter(() => picks.next().value === true);
        const altNames = (chosen.length > 0 ? chosen : all).map(({ altName }) => altName);
        const nodes = [node({ addresses: all.map(({ address }) => address) })];
        const { outcome, message } = decide({
          csr: servingCsr({ altNames }),
          situation: { nodes },
        });
        assert.equal(outcome, 'approve', message);
      }),
      { numRuns: 200 },
    );
  });

  it('never approves a SAN that the Node does not have', () => {
    fc.assert(
      fc.property(owned, fc.oneof(ownedName, ownedIp), (all, foreign) => {
        fc.pre(all.every((one) => keyOf(one) !== keyOf(foreign)));
        const altNames = [...all, foreign].map(({ altName }) => altName);
        const nodes = [node({ addresses: all.map(({ address }) => address) })];
        const asked = { csr: servingCsr({ altNames }), situation: { nodes } };
        assert.equal(decide(asked).outcome, 'hold');
        assert.equal(decide({ ...asked, now: afterGrace }).outcome, 'deny');
      }),
      { numRuns: 200 },
    );
  });

  it('decides alike for the same facts in another order', () => {
    const others = fc.uniqueArray(
      fc.record(
        {
          name: label,
          createdAt: fc.integer({ min: createdAt - 60_000, max: createdAt }),
          isTerminating: fc.boolean(),
        },
        { noNullPrototype: true },
      ),
      { selector: ({ name }) => name, maxLength: 6 },
    );
    fc.assert(
      fc.property(others, (others) => {
        const nodes = [
          node(),
          ...others.filter(({ name }) => name !== 'n1').map((other) => node(other)),
        ];
        const csr = servingCsr({});
        const one = decide({ csr, situation: { nodes } });
        const again = decide({ csr, situation: { nodes: nodes.toReversed() } });
        assert.deepEqual([one.outcome, one.code], [again.outcome, again.code]);
      }),
      { numRuns: 200 },
    );
  });

  it('denies for the Node only after a fresh read of it', () => {
    const csr = servingCsr({ altNames: [dns('n10')] });
    const input = { csr, facts: factsOf(), policy: policy(), now: afterGrace };
    const first = evaluate(input);
    assert.deepEqual([first.outcome, first.finding?.needsFreshNode], ['deny', true]);
    const fresh = { ...input.facts, freshNode: { node: node() } };
    const second = evaluate({ ...input, facts: fresh });
    assert.deepEqual([second.outcome, second.finding?.needsFreshNode], ['deny', undefined]);
    const renamed = node({ addresses: [{ type: 'Hostname', address: 'n10' }] });
    const third = evaluate({ ...input, facts: { ...fresh, freshNode: { node: renamed } } });
    assert.equal(third.outcome, 'approve');
  });

  it('says until when a mismatch is held', () => {
    const csr = servingCsr({ altNames: [dns('n10')] });
    assert.equal(decide({ csr }).finding?.until, createdAt + minute);
  });
});
