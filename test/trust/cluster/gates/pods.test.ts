import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { minute } from '../../../../src/core/instant.ts';
import type { GateInput } from '../../../../src/trust/cluster/gate.ts';
import { judgePods } from '../../../../src/trust/cluster/gates/pods.ts';
import type { PodGroup, PublishedCas } from '../../../../src/trust/cluster/state.ts';
import {
  both,
  forbidden,
  gateInput,
  lines,
  now,
  onlyOld,
  read,
} from '../../../support/rollover-state.ts';

const web: PodGroup = { namespace: 'default', owner: 'Deployment/web', pods: 3, startedAt: now };

/** The bundle was published ten minutes ago. */
function withPods(
  groups: readonly PodGroup[],
  published: PublishedCas = { ...both, changedAt: now - 10 * minute },
): GateInput {
  return gateInput({ pods: read(groups), rootCas: read(new Map([['default', published]])) });
}

const since = 'kube-root-ca.crt of the namespace had the new CA';

describe('judgePods()', () => {
  const { pods: _, ...withoutPods } = gateInput().state;
  const cases: Readonly<Record<string, readonly [GateInput, readonly string[]]>> = {
    'is open when all pods started after the bundle': [withPods([web]), []],
    'waits for a pod that started before': [
      withPods([{ ...web, startedAt: now - 11 * minute }]),
      [`waiting 3 running pods started before ${since} [default/Deployment/web]`],
    ],
    'waits for a container that may have found the earlier volume': [
      withPods([{ ...web, startedAt: now - 9 * minute }]),
      [`waiting 3 running pods started before ${since} [default/Deployment/web]`],
    ],
    'accepts a container that started two minutes after the bundle': [
      withPods([{ ...web, startedAt: now - 8 * minute }]),
      [],
    ],
    'waits for a pod in a namespace without the new CA': [
      withPods([{ ...web, pods: 1 }], onlyOld),
      [`waiting 1 running pod started before ${since} [default/Deployment/web]`],
    ],
    'is unknown when nothing says when the bundle was published': [
      withPods([web], both),
      [
        `unknown 3 running pods may have started before ${since}, which has no managedFields [default/Deployment/web]`,
      ],
    ],
    'is unknown for a credential that may not list Pods': [
      gateInput({ pods: forbidden }),
      ['unknown cannot see Pods: HTTP status 403'],
    ],
    'is unknown when the pods were not read': [
      { ...gateInput(), state: withoutPods },
      ['unknown cannot see Pods: they were not read'],
    ],
    'is open when the administrator has confirmed the pods': [
      { ...withPods([web], onlyOld), confirmed: { pods: true } },
      [],
    ],
  };
  for (const [name, [input, expected]] of Object.entries(cases)) {
    it(name, () => {
      const gate = judgePods(input);
      assert.deepEqual(lines(gate.reasons), expected);
      assert.equal(gate.state, expected[0]?.split(' ')[0] ?? 'open');
    });
  }
});
