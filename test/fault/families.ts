import { api } from './api.ts';
import { clock } from './clock.ts';
import { crash } from './crash.ts';
import type { FaultFamily } from './family.ts';
import { fileSystem } from './file-system.ts';
import { fuzz } from './fuzz.ts';
import { herd } from './herd.ts';
import { keys } from './keys.ts';
import { soak } from './soak.ts';

/** In the order in which `make fault` tries them; each has a file of its own here. */
export const families: readonly FaultFamily[] = [
  crash,
  fileSystem,
  api,
  clock,
  keys,
  herd,
  fuzz,
  soak,
];
