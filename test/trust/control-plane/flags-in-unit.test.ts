import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { TestContext } from 'node:test';
import { describe, it } from 'node:test';
import { parseComponentFlags } from '../../../src/pki/components/component-flags.ts';
import { defaultDirectories } from '../../../src/pki/layout.ts';
import { Tree } from '../../../src/sys/tree.ts';
import type { UnitComponent } from '../../../src/trust/control-plane/managed-component.ts';
import { flagsInUnit } from '../../../src/trust/control-plane/flags-in-unit.ts';
import type { Replacement } from '../../../src/trust/control-plane/replacement.ts';
import type { StepFlags } from '../../../src/trust/control-plane/step-flags.ts';
import {
  managerFlags,
  rolloverFiles,
  serverFlags,
  usualFiles,
} from '../../../src/trust/control-plane/step-flags.ts';
import { temporaryDirectory } from '../../store/pairs.ts';
import { fakeSystemctl } from '../../sys/fake-systemctl.ts';

const unit = 'kube-controller-manager.service';
const unitFile = `/usr/lib/systemd/system/${unit}`;
const dropIn = `/etc/systemd/system/${unit}.d/zz-nodecertd.conf`;
const pki = '/etc/kubernetes/pki';

const usual = [
  `--cluster-signing-cert-file=${pki}/ca.crt`,
  `--cluster-signing-key-file=${pki}/ca.key`,
  `--root-ca-file=${pki}/ca.crt`,
];
const changed = [
  `--cluster-signing-cert-file=${pki}/ca-signing.crt`,
  `--cluster-signing-key-file=${pki}/ca-signing.key`,
  `--root-ca-file=${pki}/ca-bundle.crt`,
];

interface Scene {
  /** The files of the node by path; by default a unit with an environment file. */
  readonly files?: Readonly<Record<string, string>>;
  /** The flags of the process. */
  readonly flags?: readonly string[];
  readonly shown?: Readonly<Record<string, string>>;
  readonly hostPath?: UnitComponent['hostPath'];
}

const command = '/usr/bin/kube-controller-manager --name="a b" $ARGS --node=%H';
const installed = { [unitFile]: `[Service]\nEnvironmentFile=/etc/k\nExecStart=${command}\n` };

async function planned(
  test: TestContext,
  wanted: StepFlags,
  { files = installed, flags = usual, shown = {}, hostPath = (path) => path }: Scene,
): Promise<{ readonly files: Replacement['files']; readonly isOutdated: boolean; text?: string }> {
  const root = await temporaryDirectory(test);
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), text);
  }
  const dropIns = Object.keys(files).filter((path) => path !== unitFile);
  const properties = { FragmentPath: unitFile, DropInPaths: dropIns.join(' '), User: '', ...shown };
  const lines = Object.entries(properties).map((pair) => `${pair.join('=')}\n`);
  const component: UnitComponent = {
    name: wanted.component,
    source: { kind: 'unit', unit: `${wanted.component}.service` },
    flags: parseComponentFlags(flags),
    sharesNetwork: true,
    hostPath,
  };
  const node = {
    ca: 'kubernetes' as const,
    tree: new Tree(root),
    directories: defaultDirectories,
    systemctl: await fakeSystemctl(test, lines.join('')),
  };
  const { flags: found, isOutdated } = await flagsInUnit(node, component, wanted);
  const [change] = await found.make();
  const bytes = change?.after?.bytes;
  return { files: found.files, isOutdated, ...(bytes && { text: Buffer.from(bytes).toString() }) };
}

const text = `# nodecertd ca-rollover apply has written this file. The step finish removes it.
[Service]
ExecStart=
ExecStart=${command} ${changed.map((word) => `"${word}"`).join(' ')}
`;

const places = { ca: 'kubernetes', directories: defaultDirectories } as const;
const begun = managerFlags(rolloverFiles, places);
const ended = managerFlags(usualFiles, places);

describe('flagsInUnit()', () => {
  it('adds the flags to the command as written', async (test) => {
    const found = await planned(test, begun, {});
    assert.deepEqual(found.files, [{ path: dropIn, content: changed.join(' ') }]);
    assert.equal(found.text, text);
    assert.equal(found.isOutdated, true);
  });

  it('adds them to the command of another drop-in', async (test) => {
    const other = `/etc/systemd/system/${unit}.d/10-mine.conf`;
    const files = { ...installed, [other]: `[Service]\nExecStart=\nExecStart=${command}0\n` };
    const found = await planned(test, begun, { files });
    assert.equal(found.text, text.replace(command, `${command}0`));
  });

  const written = { ...installed, [dropIn]: text };
  it('has nothing to do after the restart', async (test) => {
    const found = await planned(test, begun, { files: written, flags: changed });
    assert.deepEqual([found.files, found.isOutdated], [[], false]);
  });

  it('is outdated until the restart, in both directions', async (test) => {
    const before = await planned(test, begun, { files: written });
    assert.deepEqual([before.files, before.isOutdated], [[], true]);
    const after = await planned(test, ended, { flags: changed });
    assert.deepEqual([after.files, after.isOutdated], [[], true]);
  });

  it('writes the drop-in again after a change of the unit', async (test) => {
    const files = { ...written, [unitFile]: `[Service]\nExecStart=${command} --v=4\n` };
    const found = await planned(test, begun, { files, flags: changed });
    assert.equal(found.text, text.replace(command, `${command} --v=4`));
  });

  it('removes the drop-in for the flags of kubeadm', async (test) => {
    const found = await planned(test, ended, { files: written, flags: changed });
    assert.deepEqual(found.files, [{ path: dropIn, content: 'removed' }]);
  });

  it('leaves flags that an administrator has set by hand', async (test) => {
    const found = await planned(test, begun, { flags: changed });
    assert.deepEqual([found.files, found.isOutdated], [[], false]);
  });

  it('lets kube-apiserver run as another user, because its file has no key', async (test) => {
    const found = await planned(test, serverFlags('clients', places), {
      files: { [unitFile]: '[Service]\nExecStart=/usr/bin/kube-apiserver $ARGS\n' },
      flags: [`--client-ca-file=${pki}/ca.crt`],
      shown: { User: 'kube' },
    });
    const path = '/etc/systemd/system/kube-apiserver.service.d/zz-nodecertd.conf';
    const flag = `--client-ca-file=${pki}/ca-clients.crt`;
    assert.deepEqual(found.files, [{ path, content: flag }]);
    assert.match(found.text ?? '', /^ExecStart=\/usr\/bin\/kube-apiserver \$ARGS "--client-ca/m);
  });

  const started = (line: string): Scene => ({
    files: { [unitFile]: `[Service]\nExecStart=${line}\n` },
  });
  const late = `/etc/systemd/system/${unit}.d/zzz.conf`;
  const refused: readonly (readonly [string, Scene, RegExp])[] = [
    ['a wrapper script', started('/usr/local/bin/start-manager'), /does not start kube-contr/],
    ['a shell', started('/bin/sh -c "kube-controller-manager"'), /does not start kube-contr/],
    ['two commands', started(`${command} ; /bin/true`), /does not start kube-contr/],
    ['no command', { files: { [unitFile]: '' } }, /does not start kube-controller-manager itself/],
    [
      'a drop-in that comes later',
      { files: { ...installed, [late]: `[Service]\nExecStart=\nExecStart=${command}\n` } },
      /zzz\.conf sets ExecStart= after zz-nodecertd\.conf/,
    ],
    ['another user', { shown: { User: 'kube' } }, /ca-signing\.key: .* runs it as kube/],
    ['a dynamic user', { shown: { DynamicUser: 'yes' } }, /runs it as a dynamic user/],
    [
      'another mount',
      { hostPath: (path) => `/proc/7/root${path}` },
      /cannot read \/etc\/kubernetes\/pki\/ca-signing\.crt: .* mounts other files there/,
    ],
    ['a missing flag', { flags: usual.slice(1) }, /has no flag --cluster-signing-cert-file/],
    [
      'another CA file',
      { flags: [...usual, '--root-ca-file=/srv/ca.pem'] },
      /has another --root-ca-file than \/etc\/kubernetes\/pki\/ca\.crt/,
    ],
    ['no unit file', { shown: { FragmentPath: '' } }, /cannot read the unit .*: it has no file/],
  ];
  for (const [what, scene, message] of refused) {
    it(`refuses ${what}`, async (test) => {
      await assert.rejects(planned(test, begun, scene), (error: Error) => {
        assert.match(error.message, message);
        return 'remedy' in error && typeof error.remedy === 'string';
      });
    });
  }
});
