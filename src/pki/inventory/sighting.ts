import type { InventoryCertificate } from './certificate.ts';
import type { CertificateFile } from './certificate-file.ts';
import type { KeyState } from './key-check.ts';
import type { AuthorityName, Reload } from '../layout.ts';

/** The tables of `certs check-expiration`, in the order of its output. */
export const sections = ['certificate', 'authority', 'kubelet', 'other', 'served'] as const;
export type Section = (typeof sections)[number];

/** Where a certificate was found: in a file, in an entry of a file, or at an endpoint. */
export interface Place {
  readonly path?: string;
  /** The position in a bundle (`2`), or the entry of a kubeconfig (`user kubernetes-admin`). */
  readonly entry?: string;
  /** `127.0.0.1:6443` */
  readonly endpoint?: string;
  /** The server name (SNI) that the check sent. */
  readonly serverName?: string;
}

export interface FileUse {
  readonly component: string;
  /** The flag that names the file, if a flag does. */
  readonly flag?: string;
}

/** A certificate at one place. The inventory makes one row of all sightings of a certificate. */
export interface Sighting {
  readonly name: string;
  readonly section: Section;
  readonly place: Place;
  readonly certificate: InventoryCertificate;
  readonly usedBy: readonly FileUse[];
  readonly reload?: Reload;
  readonly managedBy?: 'kubeadm' | 'kubelet' | 'nodecertd';
  readonly key?: KeyState;
  /** The CA of kubeadm that has to have signed it. */
  readonly authority?: AuthorityName;
  /** For a CA of kubeadm: its private key is not on this node. */
  readonly external?: boolean;
  /** All certificates of the same file, if it has several, such as intermediates. */
  readonly chain?: CertificateFile['certificates'];
}

/** A row without a certificate: an expected file that is missing, or one that cannot be read. */
export interface Gap {
  readonly name: string;
  readonly section: Section;
  readonly place: Place;
  readonly state: 'missing' | 'unreadable';
  /** Follows the name in a sentence: `does not exist`. */
  readonly reason: string;
  readonly usedBy: readonly FileUse[];
  readonly authority?: AuthorityName;
  /** The private key of a missing certificate, if the key exists. */
  readonly leftKey?: string;
}

/** A file that the scan left out on purpose. */
export interface Skipped {
  readonly path: string;
  readonly reason: string;
}

export interface Scan {
  readonly sightings: readonly Sighting[];
  readonly gaps: readonly Gap[];
  readonly skipped: readonly Skipped[];
}
