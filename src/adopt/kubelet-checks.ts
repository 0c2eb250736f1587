import { flagNamed, kubeletFlagNames } from '../kubelet/flags.ts';
import type { KubeletFlagName, KubeletFlags } from '../kubelet/flags.ts';
import { systemctlCommand } from '../kubelet/restart.ts';
import type { AdoptionFacts } from './facts.ts';
import type { Note, Obstacle, PlanPart } from './plan.ts';
import { found } from './plan.ts';

/** Refuses a kubelet whose start is uncertain, because a wrong guess could stop the kubelet. */
export function checkKubelet(facts: AdoptionFacts): PlanPart {
  return {
    obstacles: found(
      severalKubelets(facts),
      unclearStart(facts),
      otherNextStart(facts),
      standalone(facts),
    ),
    notes: found(unknownCommandLine(facts), unknownName(facts)),
  };
}

function severalKubelets({ kubelet }: AdoptionFacts): Obstacle | undefined {
  if (kubelet.several === undefined) return undefined;
  return {
    id: 'several-kubelets',
    what: `more than one kubelet is running: pid ${kubelet.several.join(', ')}`,
    remedy: `Stop all kubelets but one; list them: ps -fp ${kubelet.several.join(',')}`,
  };
}

function unclearStart({ kubelet: { source, unclear, unit } }: AdoptionFacts): Obstacle | undefined {
  if (source !== 'unknown' || unclear === undefined) return undefined;
  return {
    id: 'kubelet-unclear',
    what: `the command line of the kubelet is uncertain: ${unit ?? 'its service'}: ${unclear}`,
    why: 'A flag overrides the files that adopt would change',
    remedy:
      'Start the kubelet, and run this command again: the command line of a running kubelet is certain',
  };
}

/** A service that was changed after the kubelet was started may start it with other files. */
function otherNextStart({ kubelet }: AdoptionFacts): Obstacle | undefined {
  const { running, flags, nextFlags, unit = 'kubelet.service' } = kubelet;
  if (running === undefined || nextFlags === undefined) return undefined;
  const different = kubeletFlagNames.filter(
    (name) => flagNamed(flags, name)?.value !== flagNamed(nextFlags, name)?.value,
  );
  if (different.length === 0) return undefined;
  return {
    id: 'command-line-differs',
    what: `the running kubelet was started with ${shown(different, flags)}, but ${unit} would start it with ${shown(different, nextFlags)}`,
    why: 'Adopt reads the files that the command line names, so both command lines must agree',
    remedy: `Restart the kubelet: systemctl daemon-reload && ${systemctlCommand('restart', unit)}; then run this command again`,
  };
}

function shown(names: readonly KubeletFlagName[], flags: KubeletFlags): string {
  const texts = names.map((name) => {
    const flag = flagNamed(flags, name);
    return flag === undefined ? `no --${name}` : `--${name}=${flag.value}`;
  });
  return texts.join(' ');
}

function standalone({ kubelet, paths }: AdoptionFacts): Obstacle | undefined {
  if (kubelet.source === 'unknown' || paths.kubeconfig !== undefined) return undefined;
  return {
    id: 'kubelet-standalone',
    what: 'the kubelet is started without --kubeconfig, so it uses no API server and no certificate of a cluster',
    remedy:
      'Start the kubelet with --kubeconfig to join a cluster; without a cluster, there is nothing to adopt',
  };
}

function unknownCommandLine({ kubelet, live }: AdoptionFacts): Note | undefined {
  if (kubelet.source !== 'unknown' || kubelet.unclear !== undefined) return undefined;
  return {
    id: 'command-line-unknown',
    what: `${live ? 'no kubelet is running, and no kubelet.service exists' : 'an image has no running kubelet'}, so the flags of the kubelet are unknown`,
    why: 'Flags could override the configuration files of the kubelet, whose paths come from the configuration of nodecertd and --kubelet-config',
    remedy:
      'Start the kubelet without --rotate-certificates, --rotate-server-certificates, --tls-cert-file and --tls-private-key-file',
  };
}

function unknownName({ live, paths }: AdoptionFacts): Note | undefined {
  if (live || paths.nodeName !== undefined) return undefined;
  return {
    id: 'node-name-unknown',
    what: 'the image has no host name, so the node name of the kubelet is unknown',
    remedy: 'Set nodeName and --hostname-override to the same value, or set neither',
  };
}
