import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { parseJoinCommand } from '../../src/discovery/join-command.ts';
import { skipWithoutGoProgram } from '../support/go-program.ts';
import { KubeadmTwin } from '../support/kubeadm-twin.ts';

const token = 'abcdef.0123456789abcdef';
const pin = `sha256:${'89ab'.repeat(16)}`;
const other = `sha256:${'cdef'.repeat(16)}`;

describe('parseJoinCommand()', { skip: skipWithoutGoProgram('kubeadm-discovery') }, () => {
  let kubeadm: KubeadmTwin;
  before(() => {
    kubeadm = new KubeadmTwin();
  });
  after(async () => kubeadm?.[Symbol.asyncDispose]());

  const lines = [
    `10.0.0.1:6443 --token ${token} --discovery-token-ca-cert-hash ${pin}`,
    `--token=${token} --discovery-token-ca-cert-hash=${pin} [fd00::1]:6443`,
    `--token ${token} a:1 --discovery-token-ca-cert-hash ${pin},${other}`,
    `a:1 --token ${token} --discovery-token-ca-cert-hash ${pin} --discovery-token-ca-cert-hash ${other}`,
    `a:1 --discovery-token ${token} --tls-bootstrap-token ${token} --discovery-token-unsafe-skip-ca-verification`,
    `a:1 --token ${token} --discovery-token-unsafe-skip-ca-verification=false --dry-run=1`,
    `a:1 --token ${token} --node-name n1 --cri-socket unix:///run/x.sock --v=5 --dry-run`,
    `a:1 --token ${token} --control-plane --certificate-key abc --apiserver-advertise-address 10.0.0.2`,
    `--discovery-file /etc/x.conf --tls-bootstrap-token ${token}`,
    `--discovery-file=https://a.example.com/x.conf --token ${token} --ignore-preflight-errors all`,
    `a:1 --token zzzzzz.0123456789abcdef --token ${token} -- `,
  ];
  for (const line of lines) {
    it(`reads what kubeadm reads: ${line.slice(0, 40)}`, async () => {
      using ours = parseJoinCommand(Buffer.from(`kubeadm join ${line}`));
      const theirs = await kubeadm.join(line.trim().split(/\s+/));
      assert.deepEqual(
        {
          operands: ours.endpoint === undefined ? [] : [ours.endpoint],
          token: Buffer.from(ours.token?.expose() ?? []).toString(),
          pins: ours.caCertHashes,
          unsafe: ours.skipsCaVerification,
          file: ours.discoveryFile ?? '',
          nodeName: ours.nodeName ?? '',
          dryRun: ours.dryRun,
        },
        {
          operands: theirs.operands,
          token: theirs.bootstrapToken || theirs.token,
          pins: theirs.pins,
          unsafe: theirs.unsafe,
          file: theirs.file,
          nodeName: theirs.nodeName,
          dryRun: theirs.dryRun,
        },
      );
    });
  }
});
