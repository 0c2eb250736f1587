import assert from 'node:assert/strict';
import { createPrivateKey, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chmod, readFile, rm, stat, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { createServer } from 'node:tls';
import { checkNodeAtStart } from '../../src/doctor/check-at-start.ts';
import type { CertificateSpec } from '../../src/core/certificate-spec.ts';
import type { EnrollerReport } from '../../src/core/enroller-protocol.ts';
import { hour, second } from '../../src/core/instant.ts';
import type { EnrollerOptions } from '../../src/enroller/enroller.ts';
import { Enroller } from '../../src/enroller/enroller.ts';
import { generatePrivateKey, pairPem } from '../../src/enroller/private-key.ts';
import { PairStore } from '../../src/store/pair-store.ts';
import { systemClock } from '../../src/sys/clock.ts';
import { clientSpec } from '../keeper/fixtures.ts';
import { clientTemplate, servingSpec, servingTemplate } from '../core/fixtures.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { authority, Bench, issue } from './fixtures.ts';

const kept: readonly CertificateSpec[] = [
  clientSpec,
  { ...servingSpec, selfSignedUntilIssued: true },
];

interface Changes extends Partial<EnrollerOptions> {
  readonly certificates?: readonly CertificateSpec[];
}

function enrollerOn(bench: Bench, changes: Changes = {}): Enroller {
  const { config = bench.config, certificates = kept, ...rest } = changes;
  return new Enroller({
    version: 'test',
    clock: systemClock,
    random: Math.random,
    interfaces: () => ['10.0.0.1'],
    checkNode: checkNodeAtStart,
    discover: bench.discover,
    report: bench.report,
    ...rest,
    config: { ...config, certificates },
  });
}

const name = 'kubelet-client';
const enroll = { type: 'enroll', name, id: 1, template: clientTemplate } as const;
const current = (bench: Bench, certificate = name): string =>
  join(bench.config.certificateDirectory, `${certificate}-current.pem`);

/** The number of CSRs created on the API server. */
function posts(bench: Bench): number {
  return bench.sandbox
    .audit()
    .filter(({ verb, resource }) => verb === 'create' && resource === 'certificatesigningrequests')
    .length;
}

describe('Enroller', () => {
  it('bootstraps: pair, kubeconfig, and connections under the new identity', async () => {
    await using bench = await Bench.create();
    await using enroller = enrollerOn(bench);
    enroller.handle({ type: 'inspect', id: 9, name });
    assert.equal((await bench.first('inspected')).pair, undefined);
    enroller.handle(enroll);
    const { pair } = await bench.first('stored');
    assert.equal(pair.subject.commonName, 'system:node:worker-1');
    const pem = await readFile(current(bench));
    assert.ok(new X509Certificate(pem).checkPrivateKey(createPrivateKey(pem)));
    assert.ok((await readFile(bench.config.kubeconfig, 'utf8')).includes(current(bench)));
    assert.equal((await stat(bench.config.kubeconfig)).mode & 0o777, 0o600);
    const sources = bench.all('credential').map(({ source }) => source);
    assert.deepEqual(sources, ['bootstrap', 'kubeconfig']);
    enroller.handle(enroll);
    await bench.first('stored', 2);
    const users = bench.all('requested').map(({ csr }) => {
      const found = bench.sandbox.csrs().find(({ metadata }) => metadata.name === csr.name);
      return found?.spec.username.replace(/^(system:bootstrap):.*/, '$1');
    });
    assert.deepEqual(users, ['system:bootstrap', 'system:node:worker-1']);
  });

  it('reports the CSR name of an existing pair', async () => {
    await using bench = await Bench.create();
    await using first = enrollerOn(bench);
    first.handle(enroll);
    await bench.first('stored');
    // The next run: this enroller has no memory of the first one.
    await using next = enrollerOn(bench);
    next.handle({ type: 'inspect', id: 9, name });
    const [requested] = bench.all('requested');
    assert.equal((await bench.first('inspected')).csr, requested?.csr.name);
  });

  it('sends no secret to the keeper', async () => {
    await using bench = await Bench.create();
    await using enroller = enrollerOn(bench);
    enroller.handle(enroll);
    await bench.first('stored');
    const sent = JSON.stringify(bench.reports);
    const [, token = 'none'] = /token: (\S+)/.exec(bench.sandbox.bootstrapKubeconfig()) ?? [];
    const key = (await readFile(current(bench), 'utf8')).split('PRIVATE KEY-----')[1] ?? '';
    for (const secret of [token.split('.')[1] ?? 'none', key.split('\n')[1] ?? 'none', 'BEGIN']) {
      assert.equal(sent.includes(secret), false);
    }
  });

  it('writes a missing kubeconfig beside a valid pair, as after a crash', async () => {
    await using bench = await Bench.create();
    await using enroller = enrollerOn(bench);
    enroller.handle(enroll);
    await bench.first('stored');
    const written = await readFile(bench.config.kubeconfig, 'utf8');
    await rm(bench.config.kubeconfig);
    enroller.handle({ type: 'inspect', id: 9, name });
    assert.ok((await bench.first('inspected')).pair !== undefined);
    assert.equal(await readFile(bench.config.kubeconfig, 'utf8'), written);
  });

  for (const [title, harm] of [
    ['emptied', () => ''],
    ['cut off', (text: string) => text.slice(0, 700)],
  ] as const) {
    it(`writes a kubeconfig that was ${title} again, without a bootstrap kubeconfig`, async () => {
      await using bench = await Bench.create();
      await using enroller = enrollerOn(bench);
      enroller.handle(enroll);
      await bench.first('stored');
      const written = await readFile(bench.config.kubeconfig, 'utf8');
      await writeFile(bench.config.kubeconfig, harm(written));
      await rm(join(bench.directory, 'bootstrap.conf'));
      enroller.handle({ type: 'inspect', id: 9, name });
      await bench.first('inspected');
      assert.equal(await readFile(bench.config.kubeconfig, 'utf8'), written);
      const { findings, failure } = bench.all('kubeconfig').at(-1) ?? {};
      assert.deepEqual(
        findings?.map(({ kind }) => kind),
        ['kubeconfig-set-aside', 'kubeconfig-written'],
      );
      assert.equal(failure, undefined);
    });
  }

  it('does not bootstrap if the kubeconfig path has another file', async () => {
    await using bench = await Bench.create();
    const { kubeconfig } = bench.config;
    const text = 'apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n';
    await writeFile(kubeconfig, text);
    await using enroller = enrollerOn(bench);
    enroller.handle({ type: 'inspect', id: 9, name });
    enroller.handle(enroll);
    const { failure } = await bench.first('failed');
    assert.equal(failure.code, 'KUBECONFIG_INVALID');
    assert.match(failure.message, /kubelet\.conf is a KubeletConfiguration \(kubelet\.config\.k8s/);
    assert.match(failure.remedy ?? '', /^Set kubeconfig \(--kubeconfig\)/);
    assert.equal((await bench.first('kubeconfig')).failure?.message, failure.message);
    assert.equal(await readFile(kubeconfig, 'utf8'), text);
    assert.equal(posts(bench), 0);
  });

  it('keeps using its own pair while another file is at the kubeconfig path', async () => {
    await using bench = await Bench.create();
    await using first = enrollerOn(bench);
    first.handle(enroll);
    await bench.first('stored');
    await writeFile(bench.config.kubeconfig, '{"kind": "Pod"}');
    await using second = enrollerOn(bench);
    second.handle({ ...enroll, id: 2 });
    await bench.first('stored', 2);
    const sources = bench.all('credential').map(({ source }) => source);
    assert.deepEqual(sources, ['bootstrap', 'kubeconfig', 'kubeconfig']);
    assert.equal(await readFile(bench.config.kubeconfig, 'utf8'), '{"kind": "Pod"}');
  });

  it('keeps an existing kubeconfig, and inspects without a bootstrap kubeconfig', async () => {
    await using bench = await Bench.create();
    await using enroller = enrollerOn(bench);
    enroller.handle(enroll);
    await bench.first('stored');
    await rm(bench.config.kubeconfig);
    await rm(join(bench.directory, 'bootstrap.conf'));
    enroller.handle({ type: 'inspect', id: 9, name });
    assert.ok((await bench.first('inspected')).pair !== undefined);
  });

  it('continues with the same CSR for a repeated command', async () => {
    await using bench = await Bench.create({ approving: false });
    await using enroller = enrollerOn(bench);
    enroller.handle(enroll);
    enroller.handle(enroll);
    const { csr } = await bench.first('requested');
    enroller.handle(enroll);
    bench.sandbox.approve(csr.name);
    await bench.first('stored');
    assert.equal(posts(bench), 1);
    assert.equal(bench.all('stored').length, 1);
  });

  it('abandons the CSR for another template', async () => {
    await using bench = await Bench.create({ approving: false });
    await using enroller = enrollerOn(bench);
    enroller.handle(enroll);
    const { csr } = await bench.first('requested');
    enroller.handle({ ...enroll, template: { ...clientTemplate, expirationSeconds: 3_600 } });
    const other = await bench.first('requested', 2);
    assert.notEqual(other.csr.name, csr.name);
    bench.sandbox.approve(csr.name);
    bench.sandbox.approve(other.csr.name);
    await bench.first('stored');
    assert.deepEqual(bench.all('failed'), []);
  });

  it('reports with the id of the latest request', async () => {
    await using bench = await Bench.create({ approving: false });
    await using enroller = enrollerOn(bench);
    enroller.handle(enroll);
    await bench.first('requested');
    const template = { ...clientTemplate, expirationSeconds: 3_600 };
    enroller.handle({ ...enroll, id: 2, template });
    const { csr } = await bench.first('requested', 2);
    enroller.handle({ ...enroll, id: 3, template });
    bench.sandbox.approve(csr.name);
    await bench.first('stored');
    const attempts = bench.reports.flatMap((report) =>
      'id' in report ? [`${report.type} ${report.id}`] : [],
    );
    const expected = ['requested 1', 'requested 2', 'approved 3', 'issued 3', 'stored 3'];
    assert.deepEqual(attempts, expected);
  });

  it('accepts the next attempt while it reports a failure', async () => {
    await using bench = await Bench.create();
    await bench.sandbox.stopListening();
    const report = (report: EnrollerReport): void => {
      bench.report(report);
      if (report.type === 'failed' && report.id < 3) {
        enroller.handle({ ...enroll, id: report.id + 1 });
      }
    };
    await using enroller = enrollerOn(bench, { report });
    enroller.handle(enroll);
    const { id, resumable } = await bench.first('failed', 3);
    assert.deepEqual({ id, resumable }, { id: 3, resumable: true });
  });

  it('replaces a pair that is not valid yet by the clock of the API server', async () => {
    await using bench = await Bench.create();
    const key = await generatePrivateKey('ecdsa-p256');
    const ca = await authority('ca');
    const chain = await issue(ca, key.publicKey, { notBefore: Date.now() + 2 * hour });
    const { config } = bench;
    const store = new PairStore({
      directory: config.certificateDirectory,
      name,
      clock: systemClock,
      config: config.store,
    });
    await store.write(pairPem(chain, key));
    await using enroller = enrollerOn(bench);
    enroller.handle(enroll);
    const { pair } = await bench.first('stored');
    assert.ok(pair.notBefore <= Date.now());
    assert.equal(posts(bench), 1);
  });

  it('requests no certificate while the clock of the node is behind', async () => {
    await using bench = await Bench.create();
    await using first = enrollerOn(bench);
    first.handle(enroll);
    await bench.first('stored');
    const clock = new FakeClock(Date.now() - 2 * hour);
    await using behind = enrollerOn(bench, { clock });
    behind.handle({ ...enroll, id: 2 });
    const { failure, resumable } = await bench.first('failed');
    assert.equal(failure.code, 'CERT_NOT_YET_VALID');
    assert.match(
      failure.message,
      /is not valid before \S+: the clock of the API server shows \S+, the clock of this node \S+$/,
    );
    assert.ok((failure.retryAfterMs ?? 0) >= 300_000);
    assert.equal(resumable, false);
    assert.equal(posts(bench), 1);
  });

  it('reads the time of the server from a 403 too', async () => {
    await using bench = await Bench.create();
    await using first = enrollerOn(bench);
    first.handle(enroll);
    await bench.first('stored');
    const clock = new FakeClock(Date.now() - 2 * hour);
    await using behind = enrollerOn(bench, { clock });
    const [token = ''] = /token: \S+/.exec(bench.sandbox.bootstrapKubeconfig()) ?? [];
    const refused = bench.sandbox
      .bootstrapKubeconfig()
      .replace(token, 'token: aaaaaa.0123456789abcdef');
    await bench.writeBootstrap(refused);
    behind.handle({ ...enroll, id: 2 });
    assert.equal((await bench.first('failed')).failure.code, 'CERT_NOT_YET_VALID');
    await bench.sandbox.stopListening();
    behind.handle({ ...enroll, id: 3 });
    assert.equal((await bench.first('failed', 2)).failure.code, 'API_UNREACHABLE');
  });

  it('defers to the kubelet for a pair that the kubelet rotates', async () => {
    await using bench = await Bench.create();
    await using first = enrollerOn(bench);
    first.handle(enroll);
    await bench.first('stored');
    const { certificateDirectory, kubelet } = bench.config;
    const file = kubelet.configFile;
    await writeFile(file, 'rotateCertificates: true\n');
    // An inspection of a managed pair would repair, remove and tighten these.
    const stray = join(
      certificateDirectory,
      '.nodecertd-0000000000000001.kubelet-client-current.pem',
    );
    await writeFile(stray, '');
    await chmod(current(bench), 0o644);
    const config = { ...bench.config, kubelet: { ...kubelet, certificateDirectory } };
    await using beside = enrollerOn(bench, { config });
    beside.handle({ type: 'inspect', id: 9, name });
    const { pair, observed, findings } = await bench.first('inspected');
    assert.ok(pair !== undefined);
    assert.deepEqual([observed, findings], [{ file, key: 'rotateCertificates' }, []]);
    assert.ok(existsSync(stray));
    assert.equal((await stat(current(bench))).mode & 0o777, 0o644);
    beside.handle({ ...enroll, id: 2 });
    assert.equal((await bench.first('failed')).failure.code, 'STORE_LOCKED');
    assert.equal(posts(bench), 1);
  });

  it('requests only the client certificate with the bootstrap identity', async () => {
    await using bench = await Bench.create();
    await using enroller = enrollerOn(bench);
    const serving = { ...enroll, id: 2, name: 'kubelet-server', template: servingTemplate };
    enroller.handle(serving);
    const { failure, resumable } = await bench.first('failed');
    assert.equal(failure.code, 'CREDENTIAL_EXPIRED');
    assert.equal(resumable, false);
    assert.equal(posts(bench), 0);
    enroller.handle(enroll);
    await bench.first('stored');
    enroller.handle(serving);
    assert.equal((await bench.first('requested', 2)).id, serving.id);
  });

  it('reports nothing about an abandoned attempt', async () => {
    await using bench = await Bench.create({ approving: false });
    await using enroller = enrollerOn(bench);
    enroller.handle(enroll);
    const { csr } = await bench.first('requested');
    enroller.handle({ type: 'abandon', name });
    bench.sandbox.approve(csr.name);
    enroller.handle({ type: 'inspect', id: 9, name });
    await bench.first('inspected');
    assert.deepEqual([...bench.all('failed'), ...bench.all('stored')], []);
    enroller.handle(enroll);
    const again = await bench.first('requested', 2);
    assert.notEqual(again.csr.name, csr.name);
  });

  it('reports whether a failed attempt can be resumed', async () => {
    await using bench = await Bench.create();
    await using enroller = enrollerOn(bench);
    await bench.sandbox.stopListening();
    enroller.handle(enroll);
    const { failure, resumable } = await bench.first('failed');
    assert.equal(failure.code, 'API_UNREACHABLE');
    assert.equal(resumable, true);
    await bench.sandbox.startListening();
    enroller.handle(enroll);
    await bench.first('stored');
    assert.equal(bench.sandbox.csrs().length, 1);
  });

  it('writes a temporary self-signed certificate only without a pair', async () => {
    await using bench = await Bench.create();
    await using enroller = enrollerOn(bench);
    const selfSign = { type: 'self-sign', id: 9, name: 'kubelet-server' } as const;
    enroller.handle(selfSign);
    enroller.handle(selfSign);
    const [first, second] = [await bench.first('inspected'), await bench.first('inspected', 2)];
    assert.equal(first.pair?.selfSigned, true);
    assert.deepEqual(first.pair?.ipAddresses, ['10.0.0.1']);
    assert.equal(second.pair?.serial, first.pair?.serial);
  });

  it('serializes the work on the files of one certificate', async () => {
    await using bench = await Bench.create();
    await using enroller = enrollerOn(bench);
    for (let round = 0; round < 5; round += 1) {
      enroller.handle({ type: 'self-sign', id: 9, name: 'kubelet-server' });
      enroller.handle({ type: 'inspect', id: 9, name: 'kubelet-server' });
    }
    await bench.first('inspected', 10);
    assert.equal(new Set(bench.all('inspected').map(({ pair }) => pair?.serial)).size, 1);
    assert.deepEqual(bench.all('inspection-failed'), []);
  });

  it('reports a name that is not configured as INTERNAL', async () => {
    await using bench = await Bench.create();
    await using enroller = enrollerOn(bench);
    enroller.handle({ type: 'self-sign', id: 9, name: 'unknown' });
    assert.equal((await bench.first('inspection-failed')).failure.code, 'INTERNAL');
  });

  it('serves two certificates side by side', async () => {
    await using bench = await Bench.create({ approvingServing: true });
    await using enroller = enrollerOn(bench);
    enroller.handle(enroll);
    await bench.first('stored');
    enroller.handle({ ...enroll, id: 2, name: 'kubelet-server', template: servingTemplate });
    enroller.handle({ ...enroll, id: 3 });
    await bench.first('stored', 3);
    const ids = bench.all('stored').map(({ id }) => id);
    assert.deepEqual(
      ids.toSorted((a, b) => a - b),
      [1, 2, 3],
    );
  });

  describe('look-up-addresses', () => {
    const addresses = [{ type: 'InternalIP', address: '10.0.0.1' }];
    const lookUp = { type: 'look-up-addresses', id: 9, follow: false } as const;

    it('reports addresses once and ends', async () => {
      await using bench = await Bench.create();
      await bench.sandbox.setNodeAddresses('worker-1', addresses);
      await using enroller = enrollerOn(bench);
      await bootstrapped(bench, enroller);
      enroller.handle(lookUp);
      assert.deepEqual(await bench.first('addresses'), {
        type: 'addresses',
        id: 9,
        addresses,
        final: true,
      });
      enroller.handle(lookUp);
      await bench.first('addresses', 2);
    });

    it('waits for a missing Node', async () => {
      await using bench = await Bench.create();
      await using enroller = enrollerOn(bench);
      await bootstrapped(bench, enroller);
      enroller.handle(lookUp);
      assert.equal((await bench.first('addresses')).final, false);
      await bench.sandbox.setNodeAddresses('worker-1', addresses);
      assert.deepEqual(await bench.first('addresses', 2), {
        type: 'addresses',
        id: 9,
        addresses,
        final: true,
      });
    });

    it('reports each change with follow', async () => {
      await using bench = await Bench.create();
      await bench.sandbox.setNodeAddresses('worker-1', addresses);
      await using enroller = enrollerOn(bench);
      await bootstrapped(bench, enroller);
      enroller.handle({ ...lookUp, follow: true });
      assert.equal((await bench.first('addresses')).final, false);
      const more = [...addresses, { type: 'ExternalIP', address: '192.0.2.1' }];
      await bench.sandbox.setNodeAddresses('worker-1', more);
      assert.deepEqual((await bench.first('addresses', 2)).addresses, more);
    });

    it('does not ask with a bootstrap token', async () => {
      await using bench = await Bench.create();
      await using enroller = enrollerOn(bench);
      enroller.handle(lookUp);
      const { failure } = await bench.first('addresses-failed');
      assert.equal(failure.code, 'API_UNAUTHORIZED');
      assert.match(failure.remedy ?? '', /^Wait for the next client certificate/);
      assert.ok(bench.sandbox.audit().every(({ resource }) => resource !== 'nodes'));
    });

    it('reports one failure, and accepts the next look-up', async () => {
      await using bench = await Bench.create();
      await using enroller = enrollerOn(bench);
      await bootstrapped(bench, enroller);
      await bench.sandbox.stopListening();
      enroller.handle(lookUp);
      const { failure } = await bench.first('addresses-failed');
      assert.equal(failure.code, 'API_UNREACHABLE');
      await bench.sandbox.startListening();
      await bench.sandbox.setNodeAddresses('worker-1', addresses);
      enroller.handle(lookUp);
      await bench.first('addresses');
      assert.equal(bench.all('addresses-failed').length, 1);
    });

    it('accepts a command right after the last report', async () => {
      await using bench = await Bench.create();
      await bench.sandbox.setNodeAddresses('worker-1', addresses);
      const last = new Set(['addresses', 'addresses-failed']);
      const report = (report: EnrollerReport): void => {
        bench.report(report);
        const ends = bench.reports.filter(({ type }) => last.has(type)).length;
        if (last.has(report.type) && ends < 3) enroller.handle(lookUp);
      };
      await using enroller = enrollerOn(bench, { report });
      // The first look-up fails, because there is no client certificate yet.
      enroller.handle(lookUp);
      await bench.first('addresses-failed', 3);
      await bootstrapped(bench, enroller);
      bench.reports.length = 0;
      enroller.handle(lookUp);
      await bench.first('addresses', 3);
      assert.deepEqual(bench.all('addresses-failed'), []);
    });
  });
});

describe('Enroller after a rotation', () => {
  const served = {
    endpoints: [] as { name: string; host: string; port: number }[],
    withinMs: second,
    onFailure: 'rollback',
  } as const;

  it('checks the served certificate', async () => {
    await using bench = await Bench.create();
    const server = createServer({});
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as AddressInfo;
    const endpoint = { name: `127.0.0.1:${port}`, host: '127.0.0.1', port };
    const spec = { ...clientSpec, served: { ...served, endpoints: [endpoint] } };
    await using enroller = enrollerOn(bench, { certificates: [spec] });
    await bootstrapped(bench, enroller);
    const [stored] = bench.all('stored');
    const serial = stored?.pair.serial ?? '';
    const pem = await readFile(current(bench));
    server.setSecureContext({ cert: pem, key: pem });
    enroller.handle({ type: 'check-served', id: 8, name, serial, withinMs: 0 });
    enroller.handle({ type: 'check-served', id: 9, name, serial: 'ff', withinMs: 0 });
    await bench.first('served', 2);
    const found = bench.all('served').sort((a, b) => a.id - b.id);
    const endpoints = [{ endpoint: endpoint.name, state: 'current' }];
    assert.deepEqual(
      found.map(({ outcome }) => outcome),
      [{ kind: 'checked', endpoints }, { kind: 'replaced' }],
    );
    server.close();
  });

  it('reports a failed check, and continues', async () => {
    await using bench = await Bench.create();
    await using enroller = enrollerOn(bench);
    enroller.handle({ type: 'check-served', id: 9, name, serial: 'ff', withinMs: 0 });
    const { outcome } = await bench.first('served');
    assert.equal(outcome.kind, 'failed');
  });

  it('rolls back to the previous pair, and reports the result', async () => {
    await using bench = await Bench.create();
    await using enroller = enrollerOn(bench);
    await bootstrapped(bench, enroller);
    enroller.handle({ ...enroll, id: 2 });
    await bench.first('stored', 2);
    const [first, second] = bench.all('stored').map(({ pair }) => pair.serial);
    enroller.handle({ type: 'roll-back', id: 9, name, serial: first ?? '' });
    assert.deepEqual((await bench.first('rolled-back')).outcome, { kind: 'replaced' });
    enroller.handle({ type: 'roll-back', id: 9, name, serial: second ?? '' });
    enroller.handle({ type: 'inspect', id: 9, name });
    const { outcome } = await bench.first('rolled-back', 2);
    assert.ok(outcome.kind === 'rolled-back', JSON.stringify(outcome));
    assert.equal(outcome.pair.serial, first);
    // The inspection waits for the rollback, and reports after it.
    assert.equal((await bench.first('inspected')).pair?.serial, first);
    assert.equal(bench.reports.at(-1)?.type, 'inspected');
    const read = new X509Certificate(await readFile(current(bench)));
    assert.equal(BigInt(`0x${read.serialNumber}`), BigInt(`0x${first}`));
  });

  it('does not roll back a pair that the kubelet rotates', async () => {
    await using bench = await Bench.create();
    await using enroller = enrollerOn(bench);
    await bootstrapped(bench, enroller);
    enroller.handle({ ...enroll, id: 2 });
    const { pair } = await bench.first('stored', 2);
    const { certificateDirectory, kubelet } = bench.config;
    await writeFile(kubelet.configFile, 'rotateCertificates: true\n');
    const config = { ...bench.config, kubelet: { ...kubelet, certificateDirectory } };
    await using beside = enrollerOn(bench, { config });
    beside.handle({ type: 'roll-back', id: 9, name, serial: pair.serial });
    const { outcome } = await bench.first('rolled-back');
    const reason = 'the kubelet rotates this certificate itself';
    assert.deepEqual(outcome, { kind: 'impossible', reason });
  });

  it('reports the cause of a failed rollback', async () => {
    await using bench = await Bench.create();
    await using enroller = enrollerOn(bench);
    await bootstrapped(bench, enroller);
    const [stored] = bench.all('stored');
    enroller.handle({ type: 'roll-back', id: 9, name, serial: stored?.pair.serial ?? '' });
    const { outcome } = await bench.first('rolled-back');
    assert.equal(outcome.kind, 'impossible');
  });
});

async function bootstrapped(bench: Bench, enroller: Enroller): Promise<void> {
  enroller.handle(enroll);
  await bench.first('stored');
}
