import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { TestContext } from 'node:test';
import type { PkiConfig } from '../../src/core/config.ts';
import { describeError } from '../../src/core/errors.ts';
import { kubeletWindow } from '../../src/core/schedule.ts';
import { loadText } from './load-text.ts';

async function load(context: TestContext, text: string): Promise<PkiConfig | undefined> {
  return (await loadText(context, text)).pki;
}

describe('loadConfig() on pki', () => {
  it('is disabled by default', async (context) => {
    assert.equal(await load(context, ''), undefined);
    assert.equal(await load(context, 'pki: { directory: /srv }'), undefined);
  });

  it('has the directory of kubeadm and no hooks by default', async (context) => {
    assert.deepEqual(await load(context, 'pki: { enabled: true }'), {
      directory: '/etc/kubernetes',
      rotationWindow: kubeletWindow,
      hooks: [],
    });
  });

  it('reads every key', async (context) => {
    const text = `
pki:
  enabled: true
  directory: /srv/kubernetes
  rotation: { from: 50%, to: 75% }
  window: "Sun 02:00-04:00"
  hooks:
    - systemctl: reload
      unit: haproxy.service
    - command: [/usr/local/bin/notify]
      retries: 0`;
    assert.deepEqual(await load(context, text), {
      directory: '/srv/kubernetes',
      rotationWindow: { from: 0.5, to: 0.75 },
      maintenanceWindow: 'Sun 02:00-04:00',
      hooks: [
        {
          kind: 'systemctl',
          verb: 'reload',
          unit: 'haproxy.service',
          timeoutMs: 30_000,
          retries: 2,
        },
        { kind: 'command', argv: ['/usr/local/bin/notify'], timeoutMs: 30_000, retries: 0 },
      ],
    });
  });

  it('uses the top-level rotation window by default', async (context) => {
    const text = 'rotation: { from: 20%, to: 30% }\npki: { enabled: true }';
    assert.deepEqual((await load(context, text))?.rotationWindow, { from: 0.2, to: 0.3 });
  });

  const rejected = [
    ['pki: [1]', 'config.yaml:3: pki: expected a map, found a list'],
    ['pki: { enable: true }', 'config.yaml:3: pki.enable: unknown key; did you mean "enabled"?'],
    [
      'pki: { enabled: yes please }',
      'config.yaml:3: pki.enabled: expected true or false, found "yes please"',
    ],
    ['pki: { directory: "" }', 'pki.directory: expected a string that is not empty, found ""'],
    [
      'pki:\n  rotation: { from: 90%, to: 70% }',
      'config.yaml:4: pki.rotation.from: expected a percentage below rotation.to, 70%, found "90%"',
    ],
    [
      'pki:\n  window: "Son 02:00-04:00"',
      'config.yaml:4: pki.window: "Son" is not a day: expected Sun, Mon, Tue, Wed, Thu, Fri, Sat, found "Son 02:00-04:00"',
    ],
    ['pki: { window: 2 }', 'config.yaml:3: pki.window: expected a string, found 2'],
    [
      'pki:\n  hooks:\n    - signal: SIGHUP\n      unit: a.socket',
      'config.yaml:6: pki.hooks[0].unit: only a .service unit has a main process',
    ],
    ['pki:\n  hooks: [{}]', 'config.yaml:4: pki.hooks[0]: a hook needs one of command, systemctl'],
  ] as const;
  for (const [text, problem] of rejected) {
    it(`rejects ${JSON.stringify(text)}`, async (context) => {
      await assert.rejects(load(context, text), (error) => {
        const message = describeError(error);
        assert.ok(message.includes(problem), message);
        return true;
      });
    });
  }
});
