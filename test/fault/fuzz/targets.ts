import { targets as adoptTargets } from './adopt-targets.ts';
import { targets as approverTargets } from './approver-targets.ts';
import { targets as apiTargets } from './api-targets.ts';
import { targets as inventoryTargets } from './inventory-targets.ts';
import { targets as componentTargets } from './component-targets.ts';
import { targets as csrObjectTargets } from './csr-object-target.ts';
import { targets as discoveryFileTargets } from './discovery-file-target.ts';
import { targets as discoveryTargets } from './discovery-targets.ts';
import { targets as discoveryTextTargets } from './discovery-text-targets.ts';
import { targets as httpTargets } from './http-target.ts';
import { targets as preflightTargets } from './preflight-targets.ts';
import type { FuzzTarget } from './target.ts';
import { targets as renewalTargets } from './renewal-targets.ts';
import { targets as textTargets } from './text-targets.ts';
import { targets as trustTargets } from './trust-targets.ts';
import { targets as x509Targets } from './x509-targets.ts';

/** Every parser of bytes from outside. */
export const targets: readonly FuzzTarget[] = [
  ...x509Targets,
  ...textTargets,
  ...apiTargets,
  ...httpTargets,
  ...preflightTargets,
  ...adoptTargets,
  ...inventoryTargets,
  ...componentTargets,
  ...renewalTargets,
  ...approverTargets,
  ...csrObjectTargets,
  ...discoveryTextTargets,
  ...discoveryTargets,
  ...discoveryFileTargets,
  ...trustTargets,
];
