import type { HostPort } from '../../../src/core/host-port.ts';
import { formatHostPort } from '../../../src/core/host-port.ts';

export interface GuideOptions {
  readonly directory: string;
  /** The directory remains after the end. */
  readonly kept: boolean;
  /** Of the metrics. */
  readonly address: HostPort;
  /** The command line that runs the agent from this checkout. */
  readonly agentCommand: string;
}

/** The hints above the live table: short lines with relative paths, because the screen cuts off long lines. */
export function guide({ directory, kept, address, agentCommand }: GuideOptions): string[] {
  const metrics = `http://${formatHostPort(address)}/metrics`;
  return [
    `An agent runs in ${directory}`,
    `Metrics: ${metrics}`,
    '',
    'Try in another terminal:',
    `  cd ${directory}`,
    '  openssl x509 -noout -subject -dates -in pki/kubelet-client-current.pem',
    `  curl -s ${metrics} | grep ^nodecertd_cert`,
    `  ${agentCommand} status --config config.yaml`,
    '  rm pki/kubelet-client-current.pem    # the agent repairs the link',
    '  tail -f agent.log',
    kept ? 'Ctrl-C stops it and keeps the directory.' : 'Ctrl-C stops it and removes everything.',
    '',
  ];
}
