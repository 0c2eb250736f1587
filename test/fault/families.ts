import type { FaultFamily } from './family.ts';
import { herd } from './herd.ts';

/** In the order in which `make fault` tries them; each has a file of its own here. */
export const families: readonly FaultFamily[] = [herd];
