import { join } from 'node:path';
import { writeBootstrapFiles } from '../../src/store/bootstrap-kubeconfig.ts';
import { killAtStep } from '../support/kill-at-step.ts';
import { contentWith, newToken } from './bootstrap-contents.ts';

/** A process that writes the bootstrap files, and is killed at a step: see killAtStep(). */
const [directory = '', step = '0'] = process.argv.slice(2);
await killAtStep(Number(step));
await writeBootstrapFiles(
  { kubeconfig: join(directory, 'bootstrap.conf'), caFile: join(directory, 'ca.crt'), force: true },
  contentWith(newToken),
);
