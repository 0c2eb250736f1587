import { stat } from 'node:fs/promises';
import type { AgentConfig } from '../../core/config.ts';
import type { Instant } from '../../core/instant.ts';
import type { KubeletPlaces } from '../../kubelet/start.ts';
import { readKubelet } from '../../kubelet/rotation.ts';
import { findRunningKubelet } from '../../kubelet/running.ts';
import type { Clock } from '../../sys/clock.ts';
import type { TrustPlace } from './place.ts';
import type { ReaderFacts } from './reader.ts';
import { fingerprintsOf } from './session.ts';

/** The places that the kubelet reads. */
export interface KubeletTrust {
  readonly kubeconfig?: TrustPlace;
  /** Absent if the kubelet accepts no client certificates. */
  readonly clientCa?: TrustPlace;
}

/** The kubelet may use another kubeconfig than the agent; its own comes last. */
export function kubeletTrust(places: readonly TrustPlace[]): KubeletTrust {
  const kubeconfig = places.findLast(({ kind }) => kind === 'kubelet-kubeconfig');
  const clientCa = places.find(({ kind }) => kind === 'client-ca');
  return { ...(kubeconfig && { kubeconfig }), ...(clientCa && { clientCa }) };
}

/** What `readerOf()` needs to know about the kubelet of this machine. */
export async function kubeletFacts(
  { kubeconfig, clientCa }: KubeletTrust,
  {
    config,
    machine,
    version,
    clock,
    now,
  }: {
    readonly config: Pick<AgentConfig, 'kubelet'>;
    readonly machine: KubeletPlaces;
    readonly version: string | undefined;
    readonly clock: Clock;
    /** The time of the run. */
    readonly now: Instant;
  },
): Promise<ReaderFacts> {
  // Not the time of the run: the kubelet may have been restarted in this run.
  const kubelet = await findRunningKubelet(machine, clock.now());
  const facts = await readKubelet(config, machine).catch(() => undefined);
  const file = kubeconfig?.file;
  const kubeconfigModifiedAt = await modificationOf(kubeconfig?.path);
  const times = await Promise.all([file, clientCa?.path].map(modificationOf));
  return {
    kubelet,
    version,
    authorities: { kubeconfig: authoritiesOf(kubeconfig), clientCA: authoritiesOf(clientCa) },
    file,
    rotates: facts?.rotateCertificates?.value === true,
    kubeconfigModifiedAt,
    modifiedAt: Math.max(kubeconfigModifiedAt, ...times),
    now,
  };
}

/** Never for a missing file. */
async function modificationOf(path: string | undefined): Promise<Instant> {
  if (path === undefined) return 0;
  const found = await stat(path).catch(() => undefined);
  return found?.mtimeMs ?? 0;
}

function authoritiesOf(place: TrustPlace | undefined): string[] {
  return fingerprintsOf(place?.authorities ?? []);
}
