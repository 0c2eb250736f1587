import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { GateId, GateState } from '../../src/trust/cluster/gate.ts';
import type { RolloverPlane } from '../support/rollover-plane.ts';

const program = join(import.meta.dirname, '../../src/main.ts');

/** The used fields of `nodecertd ca-rollover status -o json`. */
interface RolloverDocument {
  readonly gates: readonly GateDocument[];
}

interface GateDocument {
  readonly id: GateId;
  readonly state: GateState;
  readonly reasons: readonly {
    readonly state: GateState;
    readonly message: string;
    readonly remedy?: string;
    readonly objects?: readonly string[];
  }[];
}

export interface RolloverStatus {
  readonly code: number;
  readonly gates: ReadonlyMap<GateId, GateDocument>;
  /** For the message of a failed assertion. */
  readonly text: string;
}

/** What an administrator on the control plane sees, who has the keys of both CAs. */
export async function rolloverStatus(
  { plane, oldCa, newCa }: RolloverPlane,
  ...flags: readonly string[]
): Promise<RolloverStatus> {
  const keys = {
    old: join(plane.directory, 'old-ca.key'),
    new: join(plane.directory, 'new-ca.key'),
  };
  await writeFile(keys.old, oldCa.keyPem, { mode: 0o600 });
  await writeFile(keys.new, newCa.keyPem, { mode: 0o600 });
  const kubeconfig = join(plane.directory, 'admin.conf');
  const confirmed = ['--pods-ok', '--clients-ok'];
  const args = ['--kubeconfig', kubeconfig, '--ca-key', keys.old, keys.new, ...confirmed, ...flags];
  return new Promise((resolve, reject) => {
    execFile(
      process.execPath,
      [program, 'ca-rollover', 'status', '--output', 'json', ...args],
      (error, stdout, stderr) => {
        if (stdout === '') return reject(new Error(stderr, { cause: error }));
        const code = error === null ? 0 : Number(error.code);
        const { gates } = JSON.parse(stdout) as RolloverDocument;
        const byId = new Map(gates.map((gate) => [gate.id, gate]));
        resolve({ code, gates: byId, text: stdout + stderr });
      },
    );
  });
}

/** The gate is in this state, and one of its reasons has this text or names this object. */
export function requireGate(
  { gates, text }: RolloverStatus,
  id: GateId,
  { state, reason }: { readonly state: GateState; readonly reason?: RegExp },
): void {
  const gate = gates.get(id);
  assert.equal(gate?.state, state, `${id}: ${text}`);
  if (reason === undefined) return;
  const found = gate.reasons.some(({ message, objects = [] }) =>
    [message, ...objects].some((one) => reason.test(one)),
  );
  assert.ok(found, `${id} has no reason ${reason}: ${text}`);
}
