import assert from 'node:assert/strict';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { describe, it } from 'node:test';
import { parseComponentFlags } from '../../../src/pki/components/component-flags.ts';
import type { Component, ComponentName } from '../../../src/pki/components/component.ts';
import { Tree } from '../../../src/sys/tree.ts';
import {
  logOf,
  managedComponent,
  requireUsualPaths,
} from '../../../src/trust/control-plane/managed-component.ts';
import { temporaryDirectory } from '../../store/pairs.ts';

function unitOf(name: ComponentName, ...words: readonly string[]): Component {
  return {
    name,
    source: { kind: 'unit', unit: `${name}.service` },
    flags: parseComponentFlags(words),
    sharesNetwork: true,
    hostPath: (path) => path,
  };
}

interface Node {
  readonly ca: 'kubernetes';
  readonly tree: Tree;
  readonly directories: { readonly kubernetes: string; readonly certificates: string };
}

async function emptyNode(test: TestContext): Promise<Node> {
  const kubernetes = await temporaryDirectory(test);
  const certificates = join(kubernetes, 'pki');
  await mkdir(certificates);
  return { ca: 'kubernetes', tree: new Tree('/'), directories: { kubernetes, certificates } };
}

describe('requireUsualPaths()', () => {
  it('accepts units that use the files of kubeadm, also by a link or a configuration', async (test) => {
    const node = await emptyNode(test);
    const { kubernetes, certificates } = node.directories;
    const configuration = join(kubernetes, 'scheduler.yaml');
    const kubeconfig = join(kubernetes, 'scheduler.conf');
    await writeFile(configuration, JSON.stringify({ clientConnection: { kubeconfig } }));
    await writeFile(join(kubernetes, 'controller-manager.conf'), '');
    await symlink('controller-manager.conf', join(kubernetes, 'link'));
    const components = [
      unitOf('kube-apiserver', `--tls-cert-file=${certificates}/apiserver.crt`),
      unitOf('kube-controller-manager', `--kubeconfig=${kubernetes}/link`),
      unitOf('kube-scheduler', `--config=${configuration}`),
    ];
    await requireUsualPaths({ ...node, components });
  });

  it('refuses a unit that uses another file', async (test) => {
    const node = await emptyNode(test);
    const components = [unitOf('kube-scheduler', '--kubeconfig=/var/lib/scheduler.kubeconfig')];
    await assert.rejects(requireUsualPaths({ ...node, components }), {
      code: 'CONFIG_INVALID',
      message: `kube-scheduler does not use ${node.directories.kubernetes}/scheduler.conf, but has --kubeconfig=/var/lib/scheduler.kubeconfig`,
    });
  });

  it('refuses only a file that a step of this CA changes', async (test) => {
    const node = await emptyNode(test);
    const flag = `--tls-cert-file=${node.directories.certificates}/apiserver.crt`;
    const components = [unitOf('kube-apiserver', flag, '--proxy-client-cert-file=/srv/p.crt')];
    await requireUsualPaths({ ...node, components });
    await assert.rejects(
      requireUsualPaths({ ...node, ca: 'front-proxy', components }),
      /front-proxy-client\.crt, but has --proxy-client-cert-file=\/srv\/p\.crt$/,
    );
  });

  it('leaves static pods, which kubeadm installs', async (test) => {
    const node = await emptyNode(test);
    const source = { kind: 'static-pod', manifest: '/m', container: 'c' } as const;
    await requireUsualPaths({ ...node, components: [{ ...unitOf('kube-scheduler'), source }] });
  });
});

describe('managedComponent()', () => {
  it('refuses a process that nothing restarts, and a missing component', async (test) => {
    const { directories } = await emptyNode(test);
    const process = { ...unitOf('kube-scheduler'), source: { kind: 'process', pid: 7 } } as const;
    const find = (components: readonly Component[]) =>
      managedComponent({ components, directories }, 'kube-scheduler');
    assert.throws(() => find([process]), /kube-scheduler is neither a static pod nor a unit/);
    assert.throws(() => find([]), /kube-scheduler does not run on this node/);
    const unit = unitOf('kube-scheduler');
    assert.equal(find([unit]), unit);
  });
});

describe('logOf()', () => {
  it('is the command for a unit, and otherwise for a static pod', () => {
    const unit = unitOf('kube-scheduler');
    assert.equal(logOf([unit], 'kube-scheduler'), 'journalctl --unit kube-scheduler.service');
    assert.match(logOf([unit], 'kube-apiserver'), /^crictl logs /);
  });
});
