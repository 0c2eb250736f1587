import { AgentError } from '../../../src/core/errors.ts';
import type { AnyNodeStepName } from '../../../src/trust/control-plane/node-step.ts';
import { applyStep, undo } from './step.ts';

/** A process that does a step on a control-plane node, or undoes it, while its system calls fail. */
const [, action, step = '', root = ''] = process.argv.slice(2);
try {
  await (action === 'undo' ? undo : applyStep)(root, step as AnyNodeStepName);
} catch (error) {
  if (!(error instanceof AgentError)) throw error;
  process.stderr.write(`${error.message} (${error.code})\n`);
  process.exitCode = 1;
}
