import { api } from './api.ts';
import { apply } from './apply.ts';
import { approver } from './approver.ts';
import { clock } from './clock.ts';
import { crash } from './crash.ts';
import { discovery } from './discovery.ts';
import type { FaultFamily } from './family.ts';
import { fileSystem } from './file-system.ts';
import { fuzz } from './fuzz.ts';
import { herd } from './herd.ts';
import { keys } from './keys.ts';
import { renewal } from './renewal.ts';
import { signer } from './signer.ts';
import { soak } from './soak.ts';
import { trust } from './trust.ts';
import { unattended } from './unattended.ts';

/** The families in the order of `make fault`. */
export const families: readonly FaultFamily[] = [
  crash,
  renewal,
  trust,
  apply,
  fileSystem,
  api,
  approver,
  discovery,
  clock,
  keys,
  herd,
  fuzz,
  signer,
  soak,
  unattended,
];
