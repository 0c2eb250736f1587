import type { AdoptionFacts } from './facts.ts';
import type { KubeletFlagName } from '../kubelet/flags.ts';
import { flagNamed, kubeletFlagNames } from '../kubelet/flags.ts';
import type { Note, Obstacle, PlanPart } from './plan.ts';
import { settingFlags } from './wanted.ts';

/** Whether it is known how the kubelet is started: a guess here would be a node without a kubelet. */
export function checkKubelet(facts: AdoptionFacts): PlanPart {
  return {
    obstacles: [
      ...checkCount(facts),
      ...checkClarity(facts),
      ...checkAgreement(facts),
      ...checkStandalone(facts),
    ],
    notes: [...unknownCommandLine(facts), ...unknownName(facts)],
  };
}

function checkCount({ kubelet }: AdoptionFacts): Obstacle[] {
  if (kubelet.several === undefined) return [];
  return [
    {
      id: 'several-kubelets',
      what: `more than one kubelet runs here: ${kubelet.several.join(', ')}`,
      remedy: `ps -fp ${kubelet.several.join(',')}; stop all but one`,
    },
  ];
}

function checkClarity({ kubelet, live }: AdoptionFacts): Obstacle[] {
  if (kubelet.source !== 'unknown' || kubelet.unclear === undefined) return [];
  return [
    {
      id: 'kubelet-unclear',
      what: `how the kubelet is started cannot be told: ${kubelet.unclear}`,
      why: 'Flags override the files that would be changed',
      remedy: live
        ? 'Start the kubelet: the command line of a running one is read instead'
        : 'Let the unit start the kubelet itself',
    },
  ];
}

/** Those that say where things are; what a setting was is the restart's concern. */
const placeFlags: readonly KubeletFlagName[] = kubeletFlagNames.filter(
  (name) => !(Object.values(settingFlags) as KubeletFlagName[]).includes(name),
);

/** A unit that was changed since, or that is read here in another way than systemd reads it. */
function checkAgreement({ kubelet }: AdoptionFacts): Obstacle[] {
  const { running, source, flags } = kubelet;
  if (running === undefined || source !== 'unit') return [];
  const different = placeFlags.filter(
    (name) => flagNamed(running.flags, name)?.value !== flagNamed(flags, name)?.value,
  );
  return different.map((name) => ({
    id: 'command-line-differs',
    what: `the running kubelet has ${shown(flagNamed(running.flags, name)?.value, name)}, its unit ${shown(flagNamed(flags, name)?.value, name)}`,
    why: 'What the next start will read is not certain',
    remedy: `systemctl daemon-reload && systemctl restart ${kubelet.unit ?? 'kubelet'}, so that both agree, and run this again`,
  }));
}

function shown(value: string | undefined, name: KubeletFlagName): string {
  return value === undefined ? `no --${name}` : `--${name}=${value}`;
}

function checkStandalone({ kubelet, paths }: AdoptionFacts): Obstacle[] {
  if (kubelet.source === 'unknown' || paths.kubeconfig !== undefined) return [];
  return [
    {
      id: 'kubelet-standalone',
      what: 'the kubelet is started without --kubeconfig: it has no API server, and no certificate of one',
      remedy: 'Nothing to hand over; if it should join a cluster, start it with --kubeconfig',
    },
  ];
}

function unknownCommandLine({ kubelet, live }: AdoptionFacts): Note[] {
  if (kubelet.source !== 'unknown' || kubelet.unclear !== undefined) return [];
  return [
    {
      id: 'command-line-unknown',
      what: `there is no kubelet.service${live ? ', and no kubelet runs' : ''}: whether flags override the files is not known`,
      why: 'The files are those that the configuration of nodecertd names',
      remedy:
        'Install the kubelet first, or see that it is started without --rotate-certificates, --rotate-server-certificates and --tls-…',
    },
  ];
}

function unknownName({ live, paths }: AdoptionFacts): Note[] {
  if (live || paths.nodeName !== undefined) return [];
  return [
    {
      id: 'node-name-unknown',
      what: 'whether kubelet and nodecertd agree on the name of the node shows when the image is started',
      remedy: 'Leave nodeName and --hostname-override out in both, or set both alike',
    },
  ];
}
