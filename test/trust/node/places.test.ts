import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { describe, it } from 'node:test';
import { readKubeletConfig } from '../../../src/kubelet/configuration.ts';
import type { TrustPlace } from '../../../src/trust/node/place.ts';
import { findPlaces } from '../../../src/trust/node/places.ts';
import { tmpfsDirectory } from '../../store/mounts.ts';
import { makeTestAuthority } from './authority.ts';
import type { NodeFiles } from './node-files.ts';
import { kubeconfigText, makeNode } from './node-files.ts';

const old = makeTestAuthority();
const next = makeTestAuthority();
const other = makeTestAuthority({ subject: '/CN=company' });

async function node(context: TestContext): Promise<NodeFiles> {
  return makeNode(context, old.pem);
}

function shown({ kind, path, file, isKept, authorities, problem }: TrustPlace): unknown {
  const cas = authorities.map(({ fingerprint }) => fingerprint);
  return {
    kind,
    path,
    ...(file !== undefined && { file }),
    isKept,
    cas,
    ...(problem && { code: problem.code }),
  };
}

const oldOnly = [old.authority.fingerprint];

describe('findPlaces()', () => {
  it('keeps kubelet.conf and the clientCAFile of a worker', async (t) => {
    const { find, kubeconfig, caFile } = await node(t);
    const { places, findings } = await find();
    assert.deepEqual(places.map(shown), [
      { kind: 'kubelet-kubeconfig', path: kubeconfig, isKept: true, cas: oldOnly },
      { kind: 'client-ca', path: caFile, isKept: true, cas: oldOnly },
    ]);
    assert.deepEqual(findings, []);
  });

  it('reports the file that a kubeconfig names', async (t) => {
    const { find, kubeconfig, caFile } = await node(t);
    await writeFile(kubeconfig, kubeconfigText({ file: caFile }));
    const [first] = (await find()).places;
    assert.deepEqual(first && shown(first), {
      kind: 'kubelet-kubeconfig',
      path: kubeconfig,
      file: caFile,
      isKept: true,
      cas: oldOnly,
    });
  });

  it('keeps the bootstrap kubeconfig and the copy for a hard reset', async (t) => {
    const { find, root, stateDirectory } = await node(t);
    const paths = [join(root, 'bootstrap-kubelet.conf'), join(stateDirectory, 'kubeconfig')];
    for (const path of paths) await writeFile(path, kubeconfigText({ pem: old.pem }));
    const { places } = await find();
    const kept = places.filter(({ path, isKept }) => paths.includes(path) && isKept);
    assert.deepEqual(
      kept.map(({ kind }) => kind),
      ['bootstrap-kubeconfig', 'kubeconfig'],
    );
  });

  it('keeps listed files, also one that is missing, and only reports network plugins', async (t) => {
    const { find, root, network } = await node(t);
    const [agent, created, plugin] = [
      join(root, 'agent.conf'),
      join(root, 'new-ca.crt'),
      join(network, 'calico-kubeconfig'),
    ];
    for (const path of [agent, plugin]) {
      await writeFile(path, kubeconfigText({ pem: old.pem }));
    }
    const { places, findings } = await find({ kubeconfigs: [agent], files: [created] });
    assert.deepEqual(places.slice(2).map(shown), [
      { kind: 'kubeconfig', path: agent, isKept: true, cas: oldOnly },
      { kind: 'file', path: created, isKept: true, cas: [] },
      { kind: 'kubeconfig', path: plugin, isKept: false, cas: oldOnly },
    ]);
    assert.deepEqual(findings, []);
  });

  it('reports a file once that is reached by several paths', async (t) => {
    const { find, root, caFile } = await node(t);
    const link = join(root, 'link.crt');
    await symlink(caFile, link);
    const { places } = await find({ files: [link, caFile] });
    assert.deepEqual(
      places.map(({ kind }) => kind),
      ['kubelet-kubeconfig', 'client-ca'],
    );
  });

  describe('does not manage the clientCAFile', () => {
    it('if it has another CA than the kubeconfig, unless it is listed', async (t) => {
      const { find, caFile } = await node(t);
      await writeFile(caFile, old.pem + other.pem);
      const { places, findings } = await find();
      assert.deepEqual(
        places.map(({ isKept }) => isKept),
        [true, false],
      );
      assert.deepEqual(
        findings.map(({ id }) => id),
        ['client_ca_differs'],
      );
      assert.match(
        findings[0]?.message ?? '',
        new RegExp(`CN=company \\(${other.authority.fingerprint.slice(0, 16)}\\)`),
      );
      const listed = await find({ files: [caFile] });
      assert.deepEqual(
        listed.places.map(({ isKept }) => isKept),
        [true, true],
      );
      assert.deepEqual(listed.findings, []);
    });

    it('if it is a CA file of a static pod', async (t) => {
      const { find, caFile, manifests } = await node(t);
      await writeFile(join(manifests, 'kcm.yaml'), controllerManager(caFile));
      await requireControlPlane({ find, caFile });
    });

    it('if its key is beside it, although no component was found', async (t) => {
      const { find, caFile } = await node(t);
      await writeFile(caFile.replace('.crt', '.key'), old.key);
      await requireControlPlane({ find, caFile });
    });
  });

  it('offers a drop-in with a file of the kubelet for the file that signs', async (t) => {
    const { config, machine, root, caFile, certificateDirectory } = await node(t);
    await writeFile(caFile.replace('.crt', '.key'), old.key);
    const settings = config();
    const kubelet = { ...settings.kubelet, configDirectory: join(root, 'conf.d') };
    const { findings } = await findPlaces({ config: { ...settings, kubelet }, machine });
    const remedy = findings.find(({ id }) => id === 'client_ca_is_signing_file')?.remedy ?? '';
    await mkdir(join(root, 'conf.d'));
    execFileSync('sh', ['-c', /run (install .*?), run/.exec(remedy)?.[1] ?? 'false']);
    execFileSync('sh', ['-c', /run (printf .*?), add/.exec(remedy)?.[1] ?? 'false']);
    const facts = await readKubeletConfig({ kubelet });
    const copy = join(certificateDirectory, 'client-ca.crt');
    assert.equal(facts.clientCAFile?.value, copy);
    assert.equal(await readFile(copy, 'utf8'), old.pem);
  });

  it('never keeps a control-plane file, whatever lists or names it', async (t) => {
    const { find, root, kubeconfig, manifests } = await node(t);
    const signing = join(root, 'sa.crt');
    await writeFile(signing, old.pem);
    await writeFile(join(manifests, 'kcm.yaml'), controllerManager(signing));
    await writeFile(kubeconfig, kubeconfigText({ file: signing }));
    const { places, findings } = await find({ files: [signing] });
    const named = places.filter(({ path, file = path }) => file === signing);
    assert.deepEqual(
      named.map(({ kind, isKept }) => [kind, isKept]),
      [
        ['kubelet-kubeconfig', false],
        ['file', false],
        ['control-plane-ca', false],
      ],
    );
    assert.deepEqual(
      findings.map(({ id }) => id),
      ['control_plane_file', 'control_plane_file'],
    );
  });

  it('moves embedded CAs, and those of a control-plane file, with trust.externalize', async (t) => {
    const { find, kubeconfig, caFile, certificateDirectory } = await node(t);
    const moveTo = join(certificateDirectory, 'cluster-ca.crt');
    const move = async (): Promise<unknown> => {
      const [first] = (await find({ externalize: true })).places;
      return [first?.isKept, first?.moveTo];
    };
    assert.deepEqual(await move(), [true, moveTo]);
    await writeFile(kubeconfig, kubeconfigText({ file: caFile }));
    assert.deepEqual(await move(), [true, undefined]);
    await writeFile(caFile.replace('.crt', '.key'), old.key);
    assert.deepEqual(await move(), [true, moveTo]);
  });

  describe('finds that nodecertd cannot keep', () => {
    const unusable: readonly (readonly [
      what: string,
      code: string,
      make: (file: string) => Promise<unknown>,
    ])[] = [
      ['a directory', 'PAIR_MALFORMED', async (file) => mkdir(file)],
      ['a FIFO', 'PAIR_MALFORMED', async (file) => execFileSync('mkfifo', [file])],
      ['a large file', 'PAIR_MALFORMED', async (file) => writeFile(file, old.pem.repeat(3_000))],
      [
        'a file with a key',
        'PAIR_MALFORMED',
        async (file) => writeFile(file, old.pem + old.key.toString()),
      ],
      ['a file in a missing directory', 'STORE_IO', async () => undefined],
    ];
    for (const [what, code, make] of unusable) {
      it(what, async (t) => {
        const { find, root } = await node(t);
        const file = join(root, what.includes('missing') ? 'none/x.crt' : 'x.crt');
        await make(file);
        const { places, findings } = await find({ files: [file] });
        const place = places.find(({ path }) => path === file);
        assert.equal(place?.problem?.code, code);
        assert.deepEqual(
          findings.map(({ id }) => id),
          ['place_unusable'],
        );
        assert.doesNotMatch(JSON.stringify(findings), /PRIVATE KEY-----/);
      });
    }

    it('a kubeconfig with an anchor', async (t) => {
      const { find, kubeconfig } = await node(t);
      const text = kubeconfigText({ pem: old.pem });
      const data = Buffer.from(old.pem).toString('base64');
      await writeFile(kubeconfig, text.replace(data, `&ca ${data}`));
      const { places, findings } = await find();
      assert.equal(places[0]?.problem?.code, 'KUBECONFIG_UNSUPPORTED');
      assert.equal(places[0]?.authorities.length, 1);
      assert.deepEqual(
        findings.map(({ id }) => id),
        ['place_unusable'],
      );
    });

    it('a kubeconfig without CAs, and one that is missing', async (t) => {
      const { find, root } = await node(t);
      const [without, missing] = [join(root, 'a.conf'), join(root, 'b.conf')];
      const text = kubeconfigText({ file: '' });
      await writeFile(without, text);
      const { places } = await find({ kubeconfigs: [without, missing] });
      const codes = places.slice(2).map(({ problem }) => problem?.code);
      assert.deepEqual(codes, ['KUBECONFIG_UNSUPPORTED', 'KUBECONFIG_MISSING']);
    });

    it('a file on a read-only mount, which it still reads', async (t) => {
      const folder = await tmpfsDirectory(t, 'size=64k');
      if (folder === undefined) return;
      const { find } = await node(t);
      const file = join(folder, 'ca.crt');
      await writeFile(file, old.pem);
      execFileSync('mount', ['-o', 'remount,ro', folder]);
      const { places } = await find({ files: [file] });
      const place = places.find(({ path }) => path === file);
      assert.equal(place?.problem?.code, 'STORE_PERMISSIONS');
      assert.equal(place?.authorities.length, 1);
    });

    it('a file that is a mount of its own', async (t) => {
      const folder = await tmpfsDirectory(t, 'size=64k');
      if (folder === undefined) return;
      const mounted: string[] = [];
      // Comes before the directory of the node is removed.
      t.after(() => mounted.map((path) => execFileSync('umount', [path])));
      const { find, caFile } = await node(t);
      const source = join(folder, 'ca.crt');
      await writeFile(source, old.pem);
      execFileSync('mount', ['--bind', source, caFile]);
      mounted.push(caFile);
      const [, place] = (await find()).places;
      assert.match(place?.problem?.message ?? '', /is mounted as a single file/);
    });
  });

  it('finds a block that programs skip', async (t) => {
    const { find, caFile } = await node(t);
    await writeFile(caFile, old.pem + next.pem.slice(0, 300));
    const { places, findings } = await find();
    assert.deepEqual(places.map(shown).at(1), {
      kind: 'client-ca',
      path: caFile,
      isKept: true,
      cas: oldOnly,
    });
    assert.deepEqual(
      findings.map(({ id }) => id),
      ['place_malformed'],
    );
  });
});

async function requireControlPlane({
  find,
  caFile,
}: Pick<NodeFiles, 'find' | 'caFile'>): Promise<void> {
  const { places, findings } = await find();
  const clientCa = places.find(({ kind }) => kind === 'client-ca');
  assert.deepEqual(clientCa && shown(clientCa), {
    kind: 'client-ca',
    path: caFile,
    isKept: false,
    cas: oldOnly,
  });
  assert.deepEqual(
    findings.map(({ id }) => id),
    ['client_ca_is_signing_file'],
  );
}

function controllerManager(caFile: string): string {
  return `apiVersion: v1
kind: Pod
metadata: {name: kube-controller-manager, namespace: kube-system}
spec:
  hostNetwork: true
  containers:
  - name: kube-controller-manager
    command: [kube-controller-manager, --cluster-signing-cert-file=${caFile}]
    volumeMounts: [{name: ca, mountPath: ${caFile}}]
  volumes: [{name: ca, hostPath: {path: ${caFile}}}]
`;
}
