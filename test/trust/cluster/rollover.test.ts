import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ServerProbe } from '../../../src/trust/cluster/probes.ts';
import { withoutAbsent } from '../../../src/trust/cluster/rollover.ts';

describe('withoutAbsent()', () => {
  const running = probeOf('cp1', { issuedBy: 'old', hasBridge: false });
  const silent = probeOf('cp2', { issuedBy: 'unreadable', reason: 'no answer' });
  const cases = [
    ['keeps a server that does not answer', [], [running, silent]],
    ['omits a server that does not answer on an excepted Node', ['cp2'], [running]],
    ['keeps a server that answers on an excepted Node', ['cp1'], [running, silent]],
  ] as const;
  for (const [name, except, expected] of cases) {
    it(name, () => {
      const found = withoutAbsent([running, silent], { exceptNodes: new Set(except) });
      assert.deepEqual(found, expected);
    });
  }
});

function probeOf(name: string, served: ServerProbe['served']): ServerProbe {
  return {
    server: { name, host: name, port: 6443 },
    served,
    byOld: { kind: 'no-key' },
    byNext: { kind: 'no-key' },
  };
}
