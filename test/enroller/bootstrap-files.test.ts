import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { describe, it } from 'node:test';
import type { AgentConfig } from '../../src/core/config.ts';
import type { Enroller } from '../../src/enroller/enroller.ts';
import { clientTemplate } from '../core/fixtures.ts';
import { discoveryOf, withDiscovery } from './discovered.ts';
import { enrolledPair, enrollerOn } from './enrolled-pair.ts';
import { Bench } from './fixtures.ts';

const name = 'kubelet-client';
const enroll = { type: 'enroll', name, id: 1, template: clientTemplate } as const;

async function inspect(bench: Bench, enroller: Enroller, nth = 1): Promise<void> {
  enroller.handle({ type: 'inspect', id: 9, name });
  await bench.first('inspected', nth);
}

/** The kinds of all findings about the kubeconfig and the files of the bootstrap. */
const kinds = (bench: Bench): string[] =>
  bench.all('kubeconfig').flatMap(({ findings }) => findings.map(({ kind }) => kind));

function removing(config: AgentConfig): AgentConfig {
  return { ...config, bootstrap: { ...config.bootstrap, deleteAfterUse: true } };
}

describe('Enroller with bootstrap.discovery', () => {
  it('bootstraps without any kubeconfig, and writes kubelet.conf', async () => {
    await using bench = await Bench.create();
    bench.discover = async () => discoveryOf(bench.sandbox);
    const config = await withDiscovery(bench);
    await using enroller = enrollerOn(bench, config);
    enroller.handle(enroll);
    await bench.first('stored');
    const text = await readFile(config.kubeconfig, 'utf8');
    assert.ok(text.includes(`server: ${bench.sandbox.server}`));
    assert.ok(text.includes(Buffer.from(bench.sandbox.caPem).toString('base64')));
    assert.deepEqual(
      bench.all('credential').map(({ source }) => source),
      ['bootstrap', 'kubeconfig'],
    );
    assert.ok(existsSync(config.bootstrap.discovery?.tokenFile ?? ''));
  });

  it('recovers the kubeconfig after a crash without another discovery', async () => {
    await using bench = await Bench.create();
    let runs = 0;
    bench.discover = async () => {
      runs += 1;
      return discoveryOf(bench.sandbox);
    };
    const config = await withDiscovery(bench);
    await using killed = enrollerOn(bench, config);
    killed.handle(enroll);
    await bench.first('stored');
    const written = await readFile(config.kubeconfig, 'utf8');
    // As if the agent had been killed after it stored the certificate.
    await rm(config.kubeconfig);
    await using next = enrollerOn(bench, config);
    await inspect(bench, next);
    assert.equal(await readFile(config.kubeconfig, 'utf8'), written);
    assert.equal(runs, 1);
  });

  it('remembers the cluster before it requests a certificate', async () => {
    await using bench = await Bench.create({ approving: false });
    bench.discover = async () => discoveryOf(bench.sandbox);
    const config = await withDiscovery(bench);
    await using enroller = enrollerOn(bench, config);
    enroller.handle(enroll);
    await bench.first('requested');
    const remembered = await readFile(`${config.stateDirectory}/kubeconfig`, 'utf8');
    assert.ok(remembered.includes(`server: ${bench.sandbox.server}`));
    assert.doesNotMatch(remembered, /token/);
    assert.ok(!existsSync(config.kubeconfig));
  });

  it('writes the trust that verifies the API server into the kubeconfig', async () => {
    await using bench = await Bench.create();
    await enrolledPair(bench);
    const { caPem, customCaPem } = bench.sandbox;
    const [right, wrong] = [caPem, customCaPem].map((pem) => Buffer.from(pem).toString('base64'));
    const text = await readFile(bench.config.kubeconfig, 'utf8');
    await writeFile(bench.config.kubeconfig, text.replace(right ?? '', wrong ?? ''));
    bench.discover = async () => discoveryOf(bench.sandbox);
    await using enroller = enrollerOn(bench, await withDiscovery(bench));
    enroller.handle(enroll);
    await bench.first('stored');
    assert.equal(await readFile(bench.config.kubeconfig, 'utf8'), text);
    assert.deepEqual(kinds(bench), ['kubeconfig-replaced']);
    const { csr } = await bench.first('requested');
    const found = bench.sandbox.csrs().find(({ metadata }) => metadata.name === csr.name);
    assert.equal(found?.spec.username, 'system:node:worker-1');
  });
});

describe('Enroller beside `nodecertd discover`', () => {
  it('removes a temporary file that a killed run has left a minute ago', async () => {
    await using bench = await Bench.create();
    await enrolledPair(bench);
    const { bootstrapKubeconfig = '' } = bench.config;
    const strays = ['0', '1'].map((digit) =>
      join(
        dirname(bootstrapKubeconfig),
        `.nodecertd-${digit.repeat(16)}.${basename(bootstrapKubeconfig)}~`,
      ),
    );
    for (const stray of strays) await writeFile(stray, 'token: x');
    const [old = ''] = strays;
    await utimes(old, 0, Date.now() / 1_000 - 61);
    await using enroller = enrollerOn(bench, bench.config);
    await inspect(bench, enroller);
    // The other one may belong to a run that is still writing.
    assert.deepEqual(strays.map(existsSync), [false, true]);
    assert.deepEqual(kinds(bench), ['stray-removed']);
    assert.ok(existsSync(bootstrapKubeconfig));
  });
});

describe('Enroller with bootstrap.deleteAfterUse', () => {
  it('removes the bootstrap kubeconfig and the token file after the bootstrap', async () => {
    await using bench = await Bench.create();
    bench.discover = async () => discoveryOf(bench.sandbox);
    const { bootstrap } = removing(await withDiscovery(bench));
    const config = { ...bench.config, bootstrap };
    const files = [config.bootstrapKubeconfig ?? '', bootstrap.discovery?.tokenFile ?? ''];
    await using enroller = enrollerOn(bench, config);
    enroller.handle(enroll);
    await bench.first('stored');
    await inspect(bench, enroller);
    assert.deepEqual(files.map(existsSync), [false, false]);
    const removed = ['bootstrap-removed', 'bootstrap-removed'];
    assert.deepEqual(kinds(bench), ['kubeconfig-written', ...removed]);
  });

  it('removes nothing while the CSR is pending, or after a denial', async () => {
    await using bench = await Bench.create({ approving: false });
    await using enroller = enrollerOn(bench, removing(bench.config));
    enroller.handle(enroll);
    const { csr } = await bench.first('requested');
    await inspect(bench, enroller);
    bench.sandbox.deny(csr.name, 'not wanted');
    await bench.first('failed');
    await inspect(bench, enroller, 2);
    assert.ok(existsSync(bench.config.bootstrapKubeconfig ?? ''));
  });

  it('removes nothing while the kubeconfig does not name the certificate', async () => {
    await using bench = await Bench.create();
    await enrolledPair(bench);
    await writeFile(bench.config.kubeconfig, bench.sandbox.adminKubeconfig());
    await using enroller = enrollerOn(bench, removing(bench.config));
    await inspect(bench, enroller);
    assert.ok(existsSync(bench.config.bootstrapKubeconfig ?? ''));
  });

  it('completes an interrupted removal at the next start', async () => {
    await using bench = await Bench.create();
    await enrolledPair(bench);
    await using enroller = enrollerOn(bench, removing(bench.config));
    await inspect(bench, enroller);
    assert.ok(!existsSync(bench.config.bootstrapKubeconfig ?? ''));
    assert.deepEqual(kinds(bench), ['bootstrap-removed']);
  });

  it('keeps a bootstrap kubeconfig that is newer than the certificate', async () => {
    await using bench = await Bench.create();
    const link = await enrolledPair(bench);
    const { mtimeMs } = await stat(link);
    const { bootstrapKubeconfig = '' } = bench.config;
    do await bench.writeBootstrap();
    while ((await stat(bootstrapKubeconfig)).ctimeMs < mtimeMs + 2);
    await using enroller = enrollerOn(bench, removing(bench.config));
    await inspect(bench, enroller);
    assert.ok(existsSync(bootstrapKubeconfig));
  });

  it('keeps the files by default', async () => {
    await using bench = await Bench.create();
    await enrolledPair(bench);
    await using enroller = enrollerOn(bench, bench.config);
    await inspect(bench, enroller);
    assert.ok(existsSync(bench.config.bootstrapKubeconfig ?? ''));
  });
});
