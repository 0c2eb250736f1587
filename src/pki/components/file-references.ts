import { describeError } from '../../core/errors.ts';
import { printable, redact, withoutSecrets } from '../../core/printable.ts';
import type { LocalKubelet } from '../../kubelet/local-kubelet.ts';
import type { NamedPath } from './component-config.ts';
import { isConfigurationFlag, pathsIn, pluginFiles } from './component-config.ts';
import { flagValue, namedCertificates } from './component-flags.ts';
import type { Component, ComponentFlag, ComponentName, FileNote } from './component.ts';
import { variableIn } from './expansion.ts';
import type { FileKind } from './flag-kinds.ts';
import { fileKindOf } from './flag-kinds.ts';
import { certificateInDirectory } from './serving.ts';
import { readText } from './text-file.ts';
import { parseDocuments } from './yaml-documents.ts';

/** A file on the node that a flag of a component, or the configuration behind a flag, names. */
export interface FileReference {
  readonly path: string;
  readonly component: ComponentName;
  readonly flag: string;
  readonly kind: FileKind;
}

export interface FileReferences {
  readonly references: readonly FileReference[];
  /** Configurations that cannot be read, and flags that name no path. */
  readonly problems: readonly FileNote[];
  /** Files of containers that are not on the node. */
  readonly ignored: readonly FileNote[];
}

/** The certificates, keys, CAs and kubeconfigs of components, each once. Never rejects. */
export async function fileReferences(components: readonly Component[]): Promise<FileReferences> {
  const found = await Promise.all(components.map(referencesOf));
  const references = found.flatMap((part) => part.references);
  const notesOf = (list: 'problems' | 'ignored'): FileNote[] =>
    unique(
      found.flatMap((part) => part[list]),
      ({ path, reason }) => [path, reason],
    );
  return {
    references: unique(references, ({ path, component, flag }) => [path, component, flag]),
    problems: notesOf('problems'),
    ignored: notesOf('ignored'),
  };
}

async function referencesOf(component: Component): Promise<FileReferences> {
  const collected = new Collector(component);
  const names = new Set(component.flags.map(({ name }) => name));
  for (const name of names) {
    const value = flagValue(component.flags, name);
    if (value === undefined) continue;
    const flag: ComponentFlag = { name, value };
    const kind = fileKindOf(flag);
    if (kind !== undefined) collected.add(name, { path: value, kind });
    if (isConfigurationFlag(name)) await collected.addConfiguration(flag);
  }
  for (const { certificateFile, keyFile } of namedCertificates(component.flags)) {
    collected.add('tls-sni-cert-key', { path: certificateFile, kind: 'certificate' });
    collected.add('tls-sni-cert-key', { path: keyFile, kind: 'key' });
  }
  const generated = certificateInDirectory(component);
  // The directory is usually in the container, and then nothing else can use the file.
  if (generated !== undefined && component.hostPath(generated) !== undefined) {
    collected.add('cert-dir', { path: generated, kind: 'certificate' });
  }
  return collected;
}

/** The limit of Linux. */
const longestPath = 4096;

/** The references of one component. */
class Collector implements FileReferences {
  readonly references: FileReference[] = [];
  readonly problems: FileNote[] = [];
  readonly ignored: FileNote[] = [];
  readonly #component: Component;

  constructor(component: Component) {
    this.#component = component;
  }

  add(flag: string, { path, kind }: NamedPath): void {
    const place = this.#placeOf(flag, path);
    if (place === undefined) return;
    this.references.push({ path: place, component: this.#component.name, flag, kind });
  }

  /** Reads the configuration that a flag names, and those of the admission plug-ins it names. */
  async addConfiguration({ name, value }: ComponentFlag): Promise<void> {
    const document = await this.#read(name, value);
    for (const named of pathsIn(name, document)) this.add(name, named);
    if (name !== 'admission-control-config-file') return;
    for (const file of pluginFiles(document, value)) {
      for (const named of pathsIn(name, await this.#read(name, file))) this.add(name, named);
    }
  }

  async #read(flag: string, path: string): Promise<unknown> {
    const place = this.#placeOf(flag, path);
    if (place === undefined) return undefined;
    try {
      return parseDocuments(await readText(place)).first;
    } catch (error) {
      this.#complain(shownPath(place), `${this.#describe(flag)} ${describeError(error)}`);
      return undefined;
    }
  }

  #placeOf(flag: string, path: string): string | undefined {
    const shown = shownPath(path);
    const variable = variableIn(path);
    if (variable !== undefined) {
      const reason = `${this.#describe(flag)} contains ${withoutSecrets(variable, 80)}, whose value only the running container has`;
      this.#complain(shown, reason);
      return undefined;
    }
    if (path.includes('\0') || path.length > longestPath) {
      this.#complain(shown, `${this.#describe(flag)} is not a path`);
      return undefined;
    }
    const place = this.#component.hostPath(path);
    if (place === undefined) {
      const reason = `${this.#describe(flag)} is not on the node: it is in the image, or in a volume other than hostPath`;
      this.ignored.push({ path: shown, reason });
    }
    return place;
  }

  #describe(flag: string): string {
    const { name, source } = this.#component;
    const manifest = source.kind === 'static-pod' ? ` in ${source.manifest}` : '';
    return `--${withoutSecrets(flag, 80)} of ${name}${manifest}`;
  }

  #complain(path: string, reason: string): void {
    this.problems.push({ path, reason });
  }
}

/** Redacts what looks like a secret in each part of a path: long paths look like one as a whole. */
function shownPath(path: string): string {
  const parts = path.slice(0, longestPath).split('/');
  return printable(parts.map(redact).join('/'), 300);
}

/** The files of the kubelet outside its certificate directory. The flag is that of the setting. */
export function kubeletReferences(kubelet: LocalKubelet): FileReference[] {
  const files: readonly (readonly [string, FileKind, string | undefined])[] = [
    ['tls-cert-file', 'certificate', kubelet.tlsCertFile],
    ['tls-private-key-file', 'key', kubelet.tlsPrivateKeyFile],
    ['client-ca-file', 'authority', kubelet.clientCAFile],
    ['kubeconfig', 'kubeconfig', kubelet.kubeconfig],
  ];
  return files.flatMap(([flag, kind, path]) =>
    path === undefined ? [] : [{ path, component: 'kubelet', flag, kind }],
  );
}

function unique<T>(values: readonly T[], keyOf: (value: T) => readonly string[]): T[] {
  return [...new Map(values.map((value) => [keyOf(value).join('\0'), value])).values()];
}
