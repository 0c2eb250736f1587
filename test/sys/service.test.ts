import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { Service } from '../../src/sys/service.ts';
import { readServices } from '../../src/sys/service.ts';
import { temporaryDirectory } from '../store/pairs.ts';
import { fakeSystemctl, shownUnit } from './fake-systemctl.ts';

const unit = 'kubelet.service';

async function readService(systemctl: string): Promise<Service | undefined> {
  const [service] = await readServices([{ unit, program: 'kubelet' }], systemctl);
  return service;
}

describe('readServices()', () => {
  // The output of systemd 252 for the unit and drop-in of kubeadm.
  const kubeadm = {
    exec: '/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_EXTRA_ARGS',
    environment:
      '"KUBELET_KUBECONFIG_ARGS=--bootstrap-kubeconfig=/b --kubeconfig=/k" KUBELET_CONFIG_ARGS=--config=/c',
  };
  const words = ['--bootstrap-kubeconfig=/b', '--kubeconfig=/k', '--config=/c'];

  it('reads the command line, its files and the working directory', async (context) => {
    const directory = await temporaryDirectory(context);
    const file = join(directory, 'extra');
    await writeFile(file, '# mine\n\nKUBELET_EXTRA_ARGS="--v=2  --node-ip 10.0.0.5"\r\nOTHER=\n');
    const shown = { ...kubeadm, environmentFiles: [file, join(directory, 'none')] };
    const systemctl = await fakeSystemctl(
      context,
      `${shownUnit(shown)}WorkingDirectory=!/srv\nFragmentPath=/u\nDropInPaths=/d/1 /d/2\n`,
    );
    assert.deepEqual(await readService(systemctl), {
      unit,
      files: ['/u', '/d/1', '/d/2', ...shown.environmentFiles],
      workingDirectory: '/srv',
      environment: new Map([
        ['KUBELET_KUBECONFIG_ARGS', '--bootstrap-kubeconfig=/b --kubeconfig=/k'],
        ['KUBELET_CONFIG_ARGS', '--config=/c'],
        ['KUBELET_EXTRA_ARGS', '--v=2  --node-ip 10.0.0.5'],
        ['OTHER', ''],
      ]),
      words: [...words, '--v=2', '--node-ip', '10.0.0.5'],
    });
  });

  it('puts ${NAME} into a word, and skips $NAME of an unset variable', async (context) => {
    const shown = { exec: '/usr/bin/kubelet --config=${D}/c $NONE', environment: 'D=/srv' };
    const systemctl = await fakeSystemctl(context, shownUnit(shown));
    assert.deepEqual((await readService(systemctl))?.words, ['--config=/srv/c']);
  });

  it('reads several services from one call of systemctl', async (context) => {
    const shown = shownUnit({ exec: '/usr/bin/etcd --name=a' });
    const missing = 'LoadState=not-found\n';
    const text = [missing, shown, shownUnit({ exec: '/usr/bin/kubelet' })].join('\n');
    const systemctl = await fakeSystemctl(context, text);
    const queries = ['kube-proxy', 'etcd', 'kubelet'].map((program) => ({
      unit: `${program}.service`,
      program,
    }));
    const services = await readServices(queries, systemctl);
    assert.deepEqual(
      services.map(({ unit, words }) => [unit, words]),
      [
        ['etcd.service', ['--name=a']],
        ['kubelet.service', []],
      ],
    );
  });

  it('finds no service that is not loaded', async (context) => {
    const systemctl = await fakeSystemctl(context, 'LoadState=not-found\nExecStart=\n');
    assert.equal(await readService(systemctl), undefined);
  });

  it('does not guess the command line of a service that systemd cannot load', async (context) => {
    const systemctl = await fakeSystemctl(context, 'LoadState=bad-setting\n');
    assert.equal((await readService(systemctl))?.unclear, 'it is bad-setting');
  });

  it('does not take a failed systemctl for a missing service', async () => {
    const service = await readService('/nonexistent/systemctl');
    assert.equal(service?.unclear, 'systemctl failed: systemctl is not installed');
  });

  const unclear = [
    ['a shell', { exec: '/bin/sh -c kubelet' }, /^it starts \/bin\/sh instead of kubelet$/],
    ['no command', { exec: '' }, /^it starts nothing/],
    ['a path with a blank', { exec: '/usr/bin/kubelet --tls-cert-file /a b/c.pem' }, /blanks/],
    ['a path with a blank after =', { exec: '/usr/bin/kubelet --config=/a b' }, /blanks/],
    ['quotes', { exec: `/usr/bin/kubelet --x="a"` }, /quotes/],
    ['an escaped dollar', { exec: '/usr/bin/kubelet --x=$$A' }, /escapes/],
    [
      'an escape in Environment=',
      { exec: '/usr/bin/kubelet', environment: String.raw`"A=x\$y"` },
      /^its Environment= has quotes or escapes$/,
    ],
    [
      'a pattern of environment files',
      { exec: '/usr/bin/kubelet', environmentFiles: ['/etc/d*'] },
      /^its EnvironmentFile=\/etc\/d\* is a pattern$/,
    ],
  ] as const;
  for (const [name, shown, why] of unclear) {
    it(`does not guess a command line with ${name}`, async (context) => {
      const systemctl = await fakeSystemctl(context, shownUnit(shown));
      const service = await readService(systemctl);
      assert.equal(service?.words, undefined);
      assert.match(service?.unclear ?? '', why);
    });
  }

  for (const line of [String.raw`A="x\"y"`, 'A="x" "y"', "A='x", 'A=x\\', 'export A=x', '# a\\']) {
    it(`does not guess the environment file ${JSON.stringify(line)}`, async (context) => {
      const file = join(await temporaryDirectory(context), 'extra');
      await writeFile(file, `B=1\n${line}\n`);
      const shown = { exec: '/usr/bin/kubelet $A', environmentFiles: [file] };
      const systemctl = await fakeSystemctl(context, shownUnit(shown));
      const service = await readService(systemctl);
      assert.equal(service?.unclear, `line 2 of ${file} is not a plain NAME="value"`);
    });
  }
});
