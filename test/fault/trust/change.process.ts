import { AgentError } from '../../../src/core/errors.ts';
import { addAuthority, rollBack } from './change.ts';

/** A process that changes the CAs of a node, or rolls them back, while its system calls fail. */
const [, action = '', root = ''] = process.argv.slice(2);
try {
  await (action === 'rollback' ? rollBack(root) : addAuthority(root));
} catch (error) {
  if (!(error instanceof AgentError)) throw error;
  process.stderr.write(`${error.message} (${error.code})\n`);
  process.exitCode = 1;
}
