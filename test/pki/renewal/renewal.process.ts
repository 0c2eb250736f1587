import { join } from 'node:path';
import { renew, rollBackTo } from '../../../src/pki/renewal/renewal.ts';
import { killAtStep } from '../../support/kill-at-step.ts';
import { optionsFor, requestFor } from './renewal-tree.ts';

/** A process that renews or rolls back, and is killed at a step: see killAtStep(). */
const [kubernetes = '', action = '', step = '0'] = process.argv.slice(2);
await killAtStep(Number(step));

const request = requestFor({ kubernetes, certificates: join(kubernetes, 'pki') });
if (action === 'renew') {
  const options = optionsFor({ selection: ['apiserver', 'admin.conf'] });
  const { result } = await renew(request, { ...options, describe: () => ({}), endpoints: [] });
  if (result.failed !== undefined) throw new Error(result.failed.failure.message);
} else {
  await rollBackTo(request, { time: undefined, force: false });
}
