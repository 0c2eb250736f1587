import { dirname, join } from 'node:path';
import { toFailure } from '../../core/errors.ts';
import { encodeCertificates } from '../../core/pem.ts';
import type { TrustFinding } from '../../core/trust-report.ts';
import type { TrustAuthority } from '../../core/trust.ts';
import { externalFile } from '../../core/trust.ts';
import type { LocalKubeletPlaces } from '../../kubelet/local-kubelet.ts';
import { findLocalKubelet } from '../../kubelet/local-kubelet.ts';
import { fileIn } from '../../pki/components/component-flags.ts';
import type { Component } from '../../pki/components/component.ts';
import type { KubernetesDirectories } from '../../pki/layout.ts';
import { exists } from '../../sys/exists.ts';
import type { ControlPlaneFiles } from './control-plane-files.ts';
import { controlPlaneFiles, isControlPlaneFile } from './control-plane-files.ts';
import type { PlaceCandidate, PlacesConfig } from './place-candidates.ts';
import { placeCandidates } from './place-candidates.ts';
import { readPlace } from './place-content.ts';
import { requireEditable, requireWritable } from './place-writable.ts';
import { placeFindings } from './place-findings.ts';
import type { TrustPlace } from './place.ts';
import { formOf } from './place.ts';

export interface PlacesRequest {
  readonly config: PlacesConfig;
  /** By default the paths of this machine. */
  readonly machine?: Pick<LocalKubeletPlaces, 'proc' | 'systemctl'> & {
    readonly networkDirectory?: string;
  };
}

export interface FoundPlaces {
  readonly places: readonly TrustPlace[];
  readonly findings: readonly TrustFinding[];
  /** The programs of the control plane on this machine; empty on a worker. */
  readonly components: readonly Component[];
  readonly directories: KubernetesDirectories;
}

/**
 * Finds every file of this node that contains or names CAs. nodecertd keeps the files in its
 * configuration and the files of the kubelet. It only reports the others, and never changes a CA
 * file of the control plane. Never rejects: a file that cannot be read or written is a problem of
 * its place.
 */
export async function findPlaces({ config, machine = {} }: PlacesRequest): Promise<FoundPlaces> {
  const { networkDirectory = '/etc/cni/net.d', ...processes } = machine;
  const { configFile } = config.kubelet;
  const kubelet = await findLocalKubelet({ ...processes, configFile });
  const { staticPodPath } = kubelet;
  const controlPlane = await controlPlaneFiles({ ...processes, staticPodPath });
  const candidates = await placeCandidates({ config, kubelet, controlPlane, networkDirectory });
  const inspected: InspectedPlace[] = [];
  for (const candidate of candidates) {
    const held = inspected.find(({ place }) => place.kind === 'kubelet-kubeconfig');
    const trusted = held?.place.authorities ?? [];
    const place = await inspect(candidate, { config, controlPlane, trusted });
    if (place !== undefined) inspected.push(place);
  }
  return {
    places: inspected.map(({ place }) => place),
    findings: inspected.flatMap((one) => placeFindings(one, config)),
    components: controlPlane.components,
    directories: directoriesOf(controlPlane, staticPodPath),
  };
}

/** kubeadm puts the manifests beside `pki/`, or the folder of ca.crt elsewhere. */
function directoriesOf(
  { components }: ControlPlaneFiles,
  staticPodPath: string,
): KubernetesDirectories {
  const kubernetes = dirname(staticPodPath);
  const apiServer = components.find(({ name }) => name === 'kube-apiserver');
  const path = fileIn(apiServer, 'client-ca-file');
  return { kubernetes, certificates: path === undefined ? join(kubernetes, 'pki') : dirname(path) };
}

export interface InspectedPlace {
  readonly place: TrustPlace;
  /** What is wrong with each PEM block that programs skip. */
  readonly malformed: readonly string[];
  /** Why nodecertd does not manage a file that it would manage otherwise. */
  readonly notKept?: 'control-plane' | { readonly otherAuthority: TrustAuthority };
}

interface Surroundings {
  readonly config: PlacesConfig;
  readonly controlPlane: ControlPlaneFiles;
  /** The CAs of the API server in the kubeconfig of the kubelet. */
  readonly trusted: readonly TrustAuthority[];
}

async function inspect(
  candidate: PlaceCandidate,
  { config, controlPlane, trusted }: Surroundings,
): Promise<InspectedPlace | undefined> {
  const { kind, form, path, isListed } = candidate;
  if (!(await exists(path))) {
    if (!isListed && kind !== 'client-ca') return undefined;
    // The first change creates a PEM file.
    if (isListed && form === 'pem')
      return { place: await withCheck(bare(candidate)), malformed: [] };
  }
  const { malformed, ...content } = await readPlace(form, path);
  const place: TrustPlace = { ...bare(candidate), ...content };
  const isOfControlPlane =
    kind !== 'control-plane-ca' && (await namesControlPlaneFile(place, form, controlPlane));
  const moveTo = moveOf(place, { config, isOfControlPlane });
  if (moveTo !== undefined) {
    return { place: await withCheck({ ...place, moveTo }), malformed };
  }
  const isWanted = kind === 'client-ca' || candidate.isKept;
  if (isWanted && isOfControlPlane) {
    return { place: { ...place, isKept: false }, malformed, notKept: 'control-plane' };
  }
  if (kind === 'client-ca' && !isListed) {
    const otherAuthority = outsideOf(place.authorities, trusted);
    if (otherAuthority !== undefined) return { place, malformed, notKept: { otherAuthority } };
    if (trusted.length === 0 && place.problem === undefined) return { place, malformed };
  }
  return { place: await withCheck({ ...place, isKept: isWanted }), malformed };
}

function bare({ kind, path, isKept }: PlaceCandidate): TrustPlace {
  return { kind, path, isKept, authorities: [] };
}

async function namesControlPlaneFile(
  { path, file }: TrustPlace,
  form: PlaceCandidate['form'],
  controlPlane: ControlPlaneFiles,
): Promise<boolean> {
  const target = form === 'pem' ? path : file;
  return target !== undefined && isControlPlaneFile(target, controlPlane);
}

/** The kubelet does not reload embedded CAs, and control-plane files stay as they are: both can move. */
function moveOf(
  { kind, file, isKept, problem }: TrustPlace,
  {
    config,
    isOfControlPlane,
  }: { readonly config: PlacesConfig; readonly isOfControlPlane: boolean },
): string | undefined {
  const { trust, certificateDirectory } = config;
  if (kind !== 'kubelet-kubeconfig' || !isKept || !trust.externalize) return undefined;
  if (problem !== undefined || (file !== undefined && !isOfControlPlane)) return undefined;
  return join(certificateDirectory, externalFile);
}

/**
 * The kubelet verifies clients, such as the API server, with this file. If the cluster has another
 * CA for that, the CAs of the API server must not get into the file.
 */
function outsideOf(
  authorities: readonly TrustAuthority[],
  trusted: readonly TrustAuthority[],
): TrustAuthority | undefined {
  if (trusted.length === 0) return undefined;
  return authorities.find(({ pin }) => trusted.every((one) => one.pin !== pin));
}

/** Finds out before any change that a file cannot be replaced, so that it does not prevent the others. */
async function withCheck(place: TrustPlace): Promise<TrustPlace> {
  if (!place.isKept || place.problem !== undefined) return place;
  const { path, moveTo, authorities } = place;
  try {
    for (const written of writtenFiles(place)) await requireWritable(written);
    if (isEdited(place)) {
      const pem = encodeCertificates(authorities);
      await requireEditable(path, moveTo === undefined ? { pem } : { file: moveTo });
    }
    return place;
  } catch (error) {
    return { ...place, problem: toFailure(error) };
  }
}

function isEdited({ kind, file, moveTo }: TrustPlace): boolean {
  return formOf(kind) === 'kubeconfig' && (file === undefined || moveTo !== undefined);
}

/** The files that a change of the place replaces, in order. */
function writtenFiles({ path, file, moveTo }: TrustPlace): string[] {
  return moveTo === undefined ? [file ?? path] : [moveTo, path];
}
