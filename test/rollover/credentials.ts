import { readFile, readlink } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { parse } from 'yaml';
import { hasErrno } from '../../src/core/errors.ts';
import type { KeyPair } from '../support/cluster-pki.ts';

/** The files below a folder that is the root of a container, as a program in it sees them. */
export type ReadInside = (path: string) => Promise<string>;

/** Follows links itself: on the host, an absolute link leads to the host's files. */
export function filesBelow(root: () => string): ReadInside {
  const read: ReadInside = async (path) => {
    try {
      return await read(resolve(dirname(path), await readlink(join(root(), path))));
    } catch (error) {
      if (!hasErrno(error, 'EINVAL')) throw error;
      return readFile(join(root(), path), 'utf8');
    }
  };
  return read;
}

export interface Credentials {
  readonly server: string;
  readonly caPem: string;
  readonly pair: KeyPair;
}

/** Reads a kubeconfig with a client certificate, and the files that it names. */
export async function readCredentials(path: string, read: ReadInside): Promise<Credentials> {
  const config = parse(await read(path)) as Kubeconfig;
  const { cluster } = config.clusters[0];
  const { user } = config.users[0];
  // A pair in one file may be replaced between two reads.
  const texts = new Map<string, Promise<string>>();
  const once = async (file: string): Promise<string> => {
    const known = texts.get(file) ?? read(file);
    texts.set(file, known);
    return known;
  };
  const text = async (entries: Entries, name: string): Promise<string> => {
    const file = entries[name];
    if (file !== undefined) return once(file);
    return Buffer.from(entries[`${name}-data`] ?? '', 'base64').toString();
  };
  const pair = {
    certificatePem: await text(user, 'client-certificate'),
    keyPem: await text(user, 'client-key'),
  };
  return {
    server: cluster['server'] ?? '',
    caPem: await text(cluster, 'certificate-authority'),
    pair,
  };
}

type Entries = Readonly<Record<string, string | undefined>>;

/** The used fields, as kubelets and kubeadm write them. */
export interface Kubeconfig {
  readonly clusters: readonly [{ cluster: Entries }];
  readonly users: readonly [{ user: Entries }];
}
