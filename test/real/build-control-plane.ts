import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { areGoProgramsBuilt, goProgramDirectory, goPrograms } from '../support/go-program.ts';
import {
  controlPlaneDirectory,
  findProgram,
  goModuleDirectory,
  isExecutable,
  kubernetesVersion,
  skip,
} from '../support/programs.ts';

/**
 * `make control-plane` builds the missing programs of the control plane. The minutes
 * are for two cores and an empty Go cache.
 */
const programs = [
  { name: 'etcd', package: 'go.etcd.io/etcd/server/v3', minutes: 1 },
  { name: 'kube-apiserver', package: 'k8s.io/kubernetes/cmd/kube-apiserver', minutes: 5 },
  {
    name: 'kube-controller-manager',
    package: 'k8s.io/kubernetes/cmd/kube-controller-manager',
    minutes: 2,
  },
  { name: 'kubectl', package: 'k8s.io/kubernetes/cmd/kubectl', minutes: 0.5 },
  { name: 'kubelet', package: 'k8s.io/kubernetes/cmd/kubelet', minutes: 1 },
  { name: 'kubeadm', package: 'k8s.io/kubernetes/cmd/kubeadm', minutes: 0.5 },
  { name: 'kube-scheduler', package: 'k8s.io/kubernetes/cmd/kube-scheduler', minutes: 0.5 },
  { name: 'etcdctl', package: 'go.etcd.io/etcd/etcdctl/v3', minutes: 0.5 },
] as const;

const directory = controlPlaneDirectory();
const missing = programs.filter(({ name }) => !isExecutable(join(directory, name)));

if (findProgram('go') === undefined) {
  if (missing.length > 0 || !areGoProgramsBuilt())
    say(`skipped: ${skip('tests on a real control plane: Go is needed to build it')}`);
} else {
  mkdirSync(directory, { recursive: true });
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

function build(program: (typeof programs)[number], progress: string): void {
  say(
    `Building ${program.name} (${progress}; once, about ${program.minutes} min on two cores) ...`,
  );
  // Builds under another name, because an interrupted build must not look complete.
  const unfinished = join(directory, `.${program.name}.${process.pid}`);
  const { status, stderr, error } = spawnSync(
    'go',
    ['build', '-ldflags', linkerFlags(), '-o', unfinished, program.package],
    {
      cwd: goModuleDirectory,
      env: { ...process.env, CGO_ENABLED: '0' },
      encoding: 'utf8',
      maxBuffer: 2 ** 26,
    },
  );
  if (status !== 0) {
    rmSync(unfinished, { force: true });
    process.stderr.write(`${stderr}\n`);
    throw new Error(`go build ${program.package} failed`, { cause: error });
  }
  renameSync(unfinished, join(directory, program.name));
}

/** Sets the version as upstream's build script does. Without it, the servers report v0.0.0. */
function linkerFlags(): string {
  const version = kubernetesVersion();
  const [major, minor] = version.slice(1).split('.');
  const stamps = { gitVersion: version, gitMajor: major, gitMinor: minor, gitTreeState: 'clean' };
  const flags = Object.entries(stamps).map(
    ([name, value]) => `-X k8s.io/component-base/version.${name}=${value}`,
  );
  return ['-s', '-w', ...flags].join(' ');
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
