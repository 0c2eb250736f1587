import assert from 'node:assert/strict';
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { makeAuthority } from '../kube/support/certificates.ts';
import type { TestAgent } from '../support/agent.ts';
import { TestNode } from '../support/agent.ts';
import type { ControlPlane } from '../support/control-plane.ts';
import { nodecertd } from '../support/doctor.ts';
import { startSandboxControlPlane } from '../support/sandbox-control-plane.ts';

/** The real program on a node whose configuration management distributes the CAs. */
describe('nodecertd run with trust.enabled', () => {
  let controlPlane: ControlPlane;

  before(async () => {
    controlPlane = await startSandboxControlPlane({ signingSeconds: 3_600 });
  });
  after(async () => {
    await controlPlane?.[Symbol.asyncDispose]();
  });

  it('writes a new CA into the kubeconfig, runs the hook, and shows the result', async () => {
    await using node = await TestNode.create(controlPlane, 'trust');
    const file = join(node.directory, 'trust.pem');
    const hook = join(node.directory, 'hook');
    const written = join(node.directory, 'changed');
    await writeFile(file, controlPlane.caPem);
    await writeFile(hook, `#!/bin/sh\necho "$NODECERTD_TRUST_CAS" > ${written}\n`);
    await chmod(hook, 0o755);
    await enable(node, { file, kubelet: 'none', onTrustChange: [{ command: [hook], retries: 0 }] });

    const agent = node.start();
    await agent.event('certificate_stored', 'kubelet-client');
    await checked(agent);
    await agent.stop();

    const next = await makeAuthority('next');
    await writeFile(file, controlPlane.caPem + next.pem);
    const second = node.start();
    const { cas } = await second.event('trust_changed');
    assert.ok(Array.isArray(cas));
    assert.equal(cas.length, 2);
    await second.event('hook_succeeded', 'onTrustChange');
    assert.equal(await readFile(written, 'utf8'), `${cas.join(' ')}\n`);
    const kubeconfig = await readFile(join(node.directory, 'kubelet.conf'), 'utf8');
    const [, data = ''] = /certificate-authority-data: (\S+)/.exec(kubeconfig) ?? [];
    assert.equal(
      Buffer.from(data, 'base64')
        .toString()
        .match(/BEGIN CERT/g)?.length,
      2,
    );

    const { trustSync } = await second.status();
    // The machine of the test may have other CAs.
    const held = trustSync?.report?.authorities.filter(({ isHeld }) => isHeld);
    assert.equal(held?.length, 2);
    const metrics = (await second.get('/metrics')).text;
    assert.match(metrics, /^nodecertd_trust_cas 2$/m);
    assert.match(
      metrics,
      /^nodecertd_certificate_issuer_behind\{certificate="kubelet-client"\} 0$/m,
    );
    assert.match((await second.get('/')).text, /<h2>trusted CAs<\/h2>/);
    const { stdout } = await nodecertd('status', '--config', node.configFile);
    assert.match(stdout, /\nTrusted CAs: /);
    assert.match(stdout, / CN=next +[\da-f]{16} /);
  });
});

async function enable(node: TestNode, trust: Readonly<Record<string, unknown>>): Promise<void> {
  const text = await readFile(node.configFile, 'utf8');
  await writeFile(
    node.configFile,
    `${text}trust: ${JSON.stringify({ enabled: true, ...trust })}\n`,
  );
}

/** Waits for the end of the first run. */
async function checked(agent: TestAgent): Promise<void> {
  while ((await agent.status()).trustSync?.nextCheck === undefined) await delay(20);
}
