import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { second } from '../../../src/core/instant.ts';
import { agentPrograms } from '../../bench/agents.ts';
import { TestNode } from '../../support/agent.ts';
import { Child } from '../../support/child.ts';
import { startSandboxControlPlane } from '../../support/sandbox-control-plane.ts';
import { troubles } from '../crash/attempt.ts';
import { Reader } from '../crash/reader.ts';
import type { FaultRow } from '../family.ts';
import { certificate, newPair } from './scene.ts';
import { scaled } from '../../support/machine-speed.ts';

/**
 * client-go computes its deadline from notBefore, which signers backdate by five
 * minutes, so its deadline has always passed.
 */
const signingSeconds = scaled(40);
const duration = 30 * second;

/**
 * client-go's certificate manager, as in a kubelet, and the agent rotate the same
 * certificate in the same folder. client-go removes the link before it creates the next
 * one, so a reader may miss the link. A torn or mismatched pair is an error, and so is
 * an end without a valid pair.
 */
export async function besideKubelet(): Promise<FaultRow> {
  const controlPlane = await startSandboxControlPlane({ signingSeconds });
  const node = await TestNode.create(controlPlane, 'shared');
  await mkdir(node.pki);
  const kubelet = await startKubelet(node, controlPlane);
  try {
    await newPair(node);
    await using reader = new Reader(node, true);
    const agent = node.start();
    await agent.event('rotation_deadline');
    await delay(duration);
    await node.read(certificate).catch(() => newPair(node));
    if (agent.ended) throw new Error('the agent ended');
    const gaps = reader.losses.filter((loss) => loss.includes('ENOENT'));
    const worse = reader.losses.filter((loss) => !loss.includes('ENOENT'));
    if (worse.length > 0) throw new Error(`a reader failed: ${worse[0]}`);
    await kubelet.stop();
    // The agent alone continues with the files that client-go has left.
    await newPair(node, (await node.read(certificate)).serialNumber);
    await agent.stop();
    return {
      fault: 'client-go rotates in the same directory',
      tried: agent.all('pair_changed').length,
      lost: worse.length,
      seen: [...troubles(agent.lines), `gaps by client-go (${gaps.length})`],
    };
  } finally {
    await kubelet.stop();
    await node[Symbol.asyncDispose]();
    await controlPlane[Symbol.asyncDispose]();
  }
}

async function startKubelet(
  node: TestNode,
  controlPlane: { bootstrapKubeconfig(): Promise<string> },
): Promise<Child> {
  const program = agentPrograms()[0];
  if (program === undefined) throw new Error('client-go is not among the programs');
  const bootstrapKubeconfig = join(node.directory, 'kubelet-bootstrap.conf');
  await writeFile(bootstrapKubeconfig, await controlPlane.bootstrapKubeconfig());
  return new Child({
    name: 'client-go',
    command: program.command,
    args: [
      // The sandbox has no protobuf.
      '--content-type=application/json',
      ...program.args({
        nodeName: node.name,
        bootstrapKubeconfig,
        kubeconfig: join(node.directory, 'kubelet-own.conf'),
        certDirectory: node.pki,
        workDirectory: node.directory,
      }),
    ],
    logFile: join(node.directory, 'kubelet.log'),
  });
}
