import { parseArgs } from 'node:util';
import { skipWithoutKubeadmCluster, startKubeadmCluster } from '../support/kubeadm-cluster.ts';
import { say } from './build-steps.ts';

/** `make kubeadm-cluster` keeps a cluster until Ctrl-C. */
const { values } = parseArgs({
  options: {
    'control-planes': { type: 'string', default: '2' },
    workers: { type: 'string', default: '1' },
  },
});

const obstacle = skipWithoutKubeadmCluster();
if (obstacle === false) await keep();
else {
  say(`cannot start a cluster: ${obstacle}`);
  process.exitCode = 1;
}

async function keep(): Promise<void> {
  // Before the listeners of the nodes' processes, which end this process with an error.
  process.once('SIGINT', () => {
    say('\nRemoving the cluster ...');
    process.exit();
  });
  const cluster = await startKubeadmCluster({
    controlPlanes: Number(values['control-planes']),
    workers: Number(values.workers),
    report: say,
  });
  say('\nRun a command on a node, for example kubectl get nodes or crictl ps on a control plane:');
  for (const { name, address, container } of cluster.nodes) {
    say(`  ${name} (${address}): nsenter --target ${container.leader} --all -- COMMAND`);
  }
  say('The files of a node are below /proc/PID/root, with the number after --target as the PID.');
  say('Run a program of this machine in the network of the nodes:');
  say(`  ${cluster.network.enter.join(' ')} COMMAND`);
  say('\nCtrl-C removes the cluster.');
}
