/** The fields of a package that differ between builds: see deb-control(5). */
export interface BinaryPackage {
  readonly version: string;
  readonly architecture: string;
  /** In KiB. */
  readonly installedSize: number;
}

/** Debian's names for the architectures that have a Node package. */
const architectures: Readonly<Record<string, string>> = { x64: 'amd64', arm64: 'arm64' };

export function debianArchitecture(nodes: string): string {
  const found = architectures[nodes];
  if (found === undefined) throw new Error(`there is no package for ${nodes}`);
  return found;
}

/** Adds the fields of one build to those of systemd/package/control. */
export function controlFile(fixed: string, built: BinaryPackage): string {
  const own = [
    `Version: ${built.version}`,
    `Architecture: ${built.architecture}`,
    `Installed-Size: ${built.installedSize}`,
  ].join('\n');
  return fixed.replace(/^Package: .*$/m, (line) => `${line}\n${own}`);
}

export function fieldOf(control: string, name: string): string {
  const found = new RegExp(`^${name}: (.*)$`, 'm').exec(control)?.[1];
  if (found === undefined) throw new Error(`the control file has no ${name}`);
  return found;
}

/** The names of the packages in the field Depends. */
export function dependencies(control: string): string[] {
  return fieldOf(control, 'Depends').match(/(?<=^|, )[^ ,]+/g) ?? [];
}
