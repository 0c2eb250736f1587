import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, renameSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { areGoProgramsBuilt, goProgramDirectory, goPrograms } from '../support/go-program.ts';
import {
  controlPlaneDirectory,
  crictlModuleDirectory,
  crictlProgram,
  crictlVersion,
  extensionModuleDirectory,
  extensionProgram,
  findProgram,
  goModuleDirectory,
  helmModuleDirectory,
  helmProgram,
  helmVersion,
  isExecutable,
  kubernetesVersion,
  skip,
} from '../support/programs.ts';
import { say } from './build-steps.ts';

/**
 * `make control-plane` builds the missing programs of the control plane and of its nodes, an extension
 * API server, and helm.
 * The minutes are for two cores and an empty Go cache.
 */
const programs: readonly Program[] = [
  ...[
    { package: 'go.etcd.io/etcd/server/v3', name: 'etcd', minutes: 1 },
    { package: 'k8s.io/kubernetes/cmd/kube-apiserver', minutes: 5 },
    { package: 'k8s.io/kubernetes/cmd/kube-controller-manager', minutes: 2 },
    { package: 'k8s.io/kubernetes/cmd/kubectl', minutes: 0.5 },
    { package: 'k8s.io/kubernetes/cmd/kubelet', minutes: 1 },
    { package: 'k8s.io/kubernetes/cmd/kubeadm', minutes: 0.5 },
    { package: 'k8s.io/kubernetes/cmd/kube-scheduler', minutes: 0.5 },
    { package: 'go.etcd.io/etcd/etcdctl/v3', name: 'etcdctl', minutes: 0.5 },
  ].map((program) => ({
    ...program,
    module: goModuleDirectory,
    file: join(controlPlaneDirectory(), program.name ?? basename(program.package)),
    stamps: kubernetesStamps(),
  })),
  {
    package: 'sigs.k8s.io/cri-tools/cmd/crictl',
    minutes: 2,
    module: crictlModuleDirectory,
    file: crictlProgram(),
    stamps: { 'sigs.k8s.io/cri-tools/pkg/version.Version': crictlVersion() },
  },
  {
    package: 'helm.sh/helm/v4/cmd/helm',
    minutes: 2,
    module: helmModuleDirectory,
    file: helmProgram(),
    stamps: { 'helm.sh/helm/v4/internal/version.version': helmVersion() },
  },
  {
    package: 'k8s.io/sample-apiserver',
    minutes: 0.5,
    module: extensionModuleDirectory,
    file: extensionProgram(),
    stamps: {},
  },
];

interface Program {
  readonly package: string;
  readonly minutes: number;
  /** The folder of the go.mod that names its version. */
  readonly module: string;
  readonly file: string;
  /** Variables that the linker sets. */
  readonly stamps: Readonly<Record<string, string>>;
}

const missing = programs.filter(({ file }) => !isExecutable(file));

if (findProgram('go') === undefined) {
  if (missing.length > 0 || !areGoProgramsBuilt())
    say(`skipped: ${skip('tests on a real control plane: Go is needed to build it')}`);
} else {
  missing.forEach((program, index) => {
    build(program, `${index + 1} of ${missing.length}`);
  });
  buildGoPrograms();
}

/** Runs go build each time, because the sources may have changed. Go rebuilds only what has. */
function buildGoPrograms(): void {
  for (const [name, source] of Object.entries(goPrograms)) {
    const command = join(goProgramDirectory, name);
    execFileSync('go', ['build', '-buildvcs=false', '-ldflags', '-s -w', '-o', command, source], {
      cwd: goModuleDirectory,
      env: { ...process.env, CGO_ENABLED: '0' },
      stdio: ['ignore', 'ignore', 'inherit'],
    });
  }
}

function build(
  { package: source, minutes, module, file, stamps }: Program,
  progress: string,
): void {
  const name = basename(file);
  say(`Building ${name} (${progress}; once, about ${minutes} min on two cores) ...`);
  mkdirSync(dirname(file), { recursive: true });
  // Builds under another name, because an interrupted build must not look complete.
  const unfinished = join(dirname(file), `.${name}.${process.pid}`);
  const variables = Object.entries(stamps).map(([variable, value]) => `-X ${variable}=${value}`);
  const { status, stderr, error } = spawnSync(
    'go',
    ['build', '-ldflags', ['-s', '-w', ...variables].join(' '), '-o', unfinished, source],
    {
      cwd: module,
      env: { ...process.env, CGO_ENABLED: '0' },
      encoding: 'utf8',
      maxBuffer: 2 ** 26,
    },
  );
  if (status !== 0) {
    rmSync(unfinished, { force: true });
    process.stderr.write(`${stderr}\n`);
    throw new Error(`go build ${source} failed`, { cause: error });
  }
  renameSync(unfinished, file);
}

/** Sets the version as upstream's build script does. Without it, the servers report v0.0.0. */
function kubernetesStamps(): Readonly<Record<string, string>> {
  const version = kubernetesVersion();
  const [major = '', minor = ''] = version.slice(1).split('.');
  const stamps = { gitVersion: version, gitMajor: major, gitMinor: minor, gitTreeState: 'clean' };
  return Object.fromEntries(
    Object.entries(stamps).map(([name, value]) => [`k8s.io/component-base/version.${name}`, value]),
  );
}
