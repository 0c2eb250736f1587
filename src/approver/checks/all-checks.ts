import type { Check } from './check.ts';
import { fieldChecks } from './field-checks.ts';
import { nodeChecks } from './node-checks.ts';
import { ownershipChecks } from './ownership-checks.ts';
import { protectedChecks } from './protected-checks.ts';
import { requestChecks } from './request-checks.ts';
import { groupsCheck, pendingCheck, requestorCheck } from './requestor-checks.ts';
import { supersededCheck } from './superseded-check.ts';

/** Every check in the order of evaluation. */
export const checks: readonly Check[] = [
  pendingCheck,
  requestorCheck,
  groupsCheck,
  ...requestChecks,
  ...fieldChecks,
  ...protectedChecks,
  ...nodeChecks,
  ...ownershipChecks,
  supersededCheck,
];
