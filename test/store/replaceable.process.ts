import { toFailure } from '../../src/core/errors.ts';
import { requireReplaceable } from '../../src/store/bootstrap-kubeconfig.ts';

/** A process without privileges that checks a path. Loads its code before it gives up root. */
const [kubeconfig = ''] = process.argv.slice(2);
if (process.getuid?.() === 0) process.setuid?.(65_534);
try {
  await requireReplaceable({ kubeconfig, force: false }, undefined);
} catch (error) {
  process.stdout.write(JSON.stringify(toFailure(error)));
}
