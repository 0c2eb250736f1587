import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { AgentConfig, TrustConfig } from '../../core/config.ts';
import type { TrustPlaceKind } from '../../core/trust.ts';
import type { LocalKubelet } from '../../kubelet/local-kubelet.ts';
import { linkTarget } from '../../store/link-target.ts';
import type { ControlPlaneFiles } from './control-plane-files.ts';
import { formOf } from './place.ts';

export type PlacesConfig = Pick<
  AgentConfig,
  'kubeconfig' | 'bootstrapKubeconfig' | 'certificateDirectory' | 'stateDirectory' | 'kubelet'
> & { readonly trust: Pick<TrustConfig, 'kubeconfigs' | 'files' | 'externalize'> };

/** A file that may contain or name CAs. It is not read yet. */
export interface PlaceCandidate {
  readonly kind: TrustPlaceKind;
  readonly form: 'kubeconfig' | 'pem';
  readonly path: string;
  readonly isKept: boolean;
  /** The list of the configuration has it. */
  readonly isListed: boolean;
}

/** In the order of the report, each file once. */
export async function placeCandidates(sources: {
  readonly config: PlacesConfig;
  readonly kubelet: LocalKubelet;
  readonly controlPlane: ControlPlaneFiles;
  readonly networkDirectory: string;
}): Promise<PlaceCandidate[]> {
  const { config, kubelet, controlPlane } = sources;
  const { kubeconfigs, files } = config.trust;
  const network = await networkKubeconfigs(sources.networkDirectory);
  return unique([
    ...kept('kubelet-kubeconfig', config.kubeconfig),
    ...reported('kubelet-kubeconfig', kubelet.kubeconfig),
    ...kept('bootstrap-kubeconfig', config.bootstrapKubeconfig),
    ...reported('bootstrap-kubeconfig', kubelet.bootstrapKubeconfig),
    ...reported('client-ca', kubelet.clientCAFile),
    ...kubeconfigs.flatMap((path) => listed('kubeconfig', path)),
    ...files.flatMap((path) => listed('file', path)),
    // After a hard reset, the agent writes the kubeconfig of the kubelet from this copy.
    ...kept('kubeconfig', join(config.stateDirectory, 'kubeconfig')),
    ...controlPlane.kubeconfigs.flatMap((path) => reported('kubeconfig', path)),
    ...controlPlane.authorities.flatMap((path) => reported('control-plane-ca', path)),
    ...network.flatMap((path) => reported('kubeconfig', path)),
  ]);
}

function reported(kind: TrustPlaceKind, path: string | undefined): PlaceCandidate[] {
  if (path === undefined) return [];
  return [{ kind, form: formOf(kind), path, isKept: false, isListed: false }];
}

function kept(kind: TrustPlaceKind, path: string | undefined): PlaceCandidate[] {
  return reported(kind, path).map((candidate) => ({ ...candidate, isKept: true }));
}

function listed(kind: TrustPlaceKind, path: string): PlaceCandidate[] {
  return kept(kind, path).map((candidate) => ({ ...candidate, isListed: true }));
}

/** Network plugins write these again themselves, so nodecertd only reports them. */
async function networkKubeconfigs(directory: string): Promise<string[]> {
  const names = await readdir(directory).catch(() => []);
  return names
    .filter((name) => name.endsWith('kubeconfig'))
    .toSorted()
    .map((name) => join(directory, name));
}

/** The first kind of a file counts, and the file is kept if any of its kinds is. */
async function unique(candidates: readonly PlaceCandidate[]): Promise<PlaceCandidate[]> {
  const groups = new Map<string, PlaceCandidate>();
  for (const candidate of candidates) {
    const { kind, form, path } = candidate;
    // A clientCAFile that is also a file of the control plane is reported as both.
    const role = kind === 'control-plane-ca' ? kind : form;
    const key = `${role} ${await linkTarget(path).catch(() => path)}`;
    const first = groups.get(key) ?? candidate;
    groups.set(key, {
      ...first,
      isKept: first.isKept || candidate.isKept,
      isListed: first.isListed || candidate.isListed,
    });
  }
  return [...groups.values()];
}
