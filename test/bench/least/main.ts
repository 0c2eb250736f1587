/**
 * The smallest possible agent of two processes on this runtime. The first process
 * starts the second, which posts a prepared CSR, watches it and stores the pair. It has
 * no library, configuration, check, log or metrics. Any such program needs at least
 * this time; nodecertd is responsible for the difference.
 */
import { fork } from 'node:child_process';
import {
  closeSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  symlinkSync,
  writeSync,
} from 'node:fs';
import { Agent, request } from 'node:https';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

const [bootstrapKubeconfig = '', certDirectory = '', workDirectory = ''] = process.argv.slice(2);
if (process.send === undefined) {
  fork(import.meta.filename, process.argv.slice(2));
  setInterval(() => undefined, 1_000_000);
} else {
  requestPair();
}

interface Csr {
  readonly metadata: { readonly name: string; readonly resourceVersion: string };
  readonly status: { readonly certificate?: string };
}

function requestPair(): void {
  const kubeconfig = readFileSync(bootstrapKubeconfig, 'utf8');
  const value = (key: string): string =>
    new RegExp(`${key}: "?([^\\s"]+)`).exec(kubeconfig)?.[1] ?? '';
  const collection = `${value('server')}/apis/certificates.k8s.io/v1/certificatesigningrequests`;
  const options = {
    agent: new Agent({
      keepAlive: true,
      ca: Buffer.from(value('certificate-authority-data'), 'base64'),
    }),
    headers: { authorization: `Bearer ${value('token')}`, 'content-type': 'application/json' },
  };
  const body = {
    apiVersion: 'certificates.k8s.io/v1',
    kind: 'CertificateSigningRequest',
    metadata: { generateName: 'csr-' },
    spec: {
      request: readFileSync(join(workDirectory, 'request.pem')).toString('base64'),
      signerName: 'kubernetes.io/kube-apiserver-client-kubelet',
      usages: ['digital signature', 'client auth'],
    },
  };
  request(collection, { ...options, method: 'POST' }, (answer) => {
    let text = '';
    answer.on('data', (chunk) => (text += String(chunk)));
    answer.on('end', () => {
      const { name, resourceVersion } = (JSON.parse(text) as Csr).metadata;
      const query = `watch=true&fieldSelector=metadata.name=${name}&resourceVersion=${resourceVersion}`;
      request(`${collection}?${query}`, options, (events) => {
        createInterface({ input: events }).on('line', (line) => {
          const { certificate } = (JSON.parse(line) as { object: Csr }).object.status;
          if (certificate !== undefined) store(Buffer.from(certificate, 'base64'));
        });
      }).end();
    });
  }).end(JSON.stringify(body));
}

function store(certificate: Buffer): void {
  const path = join(certDirectory, 'kubelet-client-least.pem');
  const file = openSync(path, 'wx', 0o600);
  writeSync(file, Buffer.concat([certificate, readFileSync(join(workDirectory, 'key.pem'))]));
  fsyncSync(file);
  closeSync(file);
  symlinkSync(path, join(certDirectory, 'link'));
  renameSync(join(certDirectory, 'link'), join(certDirectory, 'kubelet-client-current.pem'));
  process.exit(0);
}
