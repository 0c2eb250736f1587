import { adopt, revert } from '../../src/adopt/adoption.ts';
import { Tree } from '../../src/sys/tree.ts';
import { killAtStep } from '../support/kill-at-step.ts';
import { dropIns, requestFor, startOf } from './kubeadm-node.ts';

/** A process that adopts or reverts, and is killed at a step: see killAtStep(). */
const [root = '', action = '', step = '0'] = process.argv.slice(2);
await killAtStep(Number(step));

const request = requestFor(new Tree(root), { kubelet: startOf(`--config-dir=${dropIns}`) });
const { plan } = await (action === 'adopt' ? adopt(request) : revert(request, { force: false }));
if (plan.obstacles.length > 0) throw new Error(JSON.stringify(plan.obstacles));
