import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseJoinCommand } from '../../src/discovery/join-command.ts';

const token = 'abcdef.0123456789abcdef';
const hash = `sha256:${'0f'.repeat(32)}`;
const otherHash = `sha256:${'1E'.repeat(32)}`;

/** The content as plain data. */
function parse(line: string) {
  using command = parseJoinCommand(Buffer.from(line));
  const { token: secret, notes, ...rest } = command;
  return {
    ...rest,
    notes,
    token: secret && Buffer.from(secret.expose()).toString(),
    [Symbol.dispose]: undefined,
  };
}

describe('parseJoinCommand()', () => {
  it('reads the line that kubeadm prints for a node', () => {
    const line = `kubeadm join 10.0.0.1:6443 --token ${token} \\\n\t--discovery-token-ca-cert-hash ${hash} \n`;
    const found = parse(line);
    assert.equal(found.endpoint, '10.0.0.1:6443');
    assert.equal(found.token, token);
    assert.deepEqual(found.caCertHashes, [hash]);
    assert.equal(found.skipsCaVerification, false);
    assert.equal(found.dryRun, false);
    assert.deepEqual(found.notes, []);
  });

  it('ignores and reports the flags of a control-plane node, without their values', () => {
    const key = 'c0ffee'.repeat(10);
    const line = `kubeadm join cp:6443 --token ${token} \\\n--discovery-token-ca-cert-hash ${hash} \\\n\t--control-plane --certificate-key ${key}`;
    const { notes, endpoint, caCertHashes } = parse(line);
    assert.equal(endpoint, 'cp:6443');
    assert.deepEqual(caCertHashes, [hash]);
    assert.equal(notes.length, 1);
    assert.match(notes[0] ?? '', /ignored --control-plane, --certificate-key:/);
    assert.ok(!notes.join().includes(key));
  });

  for (const [form, line] of [
    [
      'sudo and a path',
      `sudo -E /usr/bin/kubeadm join h:1 --token ${token} --discovery-token-ca-cert-hash ${hash}`,
    ],
    ['a prompt', `# kubeadm join h:1 --token ${token} --discovery-token-ca-cert-hash ${hash}`],
    ['equals signs', `kubeadm join h:1 --token=${token} --discovery-token-ca-cert-hash=${hash}`],
    ['quotes', `kubeadm join "h:1" --token '${token}' --discovery-token-ca-cert-hash="${hash}"`],
    [
      'flags before the address',
      `kubeadm join --token ${token} --discovery-token-ca-cert-hash ${hash} h:1`,
    ],
    [
      'both tokens by name',
      `kubeadm join h:1 --discovery-token ${token} --tls-bootstrap-token ${token} --discovery-token-ca-cert-hash ${hash}`,
    ],
    [
      'Windows line ends',
      `kubeadm join h:1 \\\r\n --token ${token} \\\r\n --discovery-token-ca-cert-hash ${hash}\r\n`,
    ],
  ] as const) {
    it(`reads a line with ${form}`, () => {
      const found = parse(line);
      assert.equal(found.endpoint, 'h:1');
      assert.equal(found.token, token);
      assert.deepEqual(found.caCertHashes, [hash]);
      assert.deepEqual(found.notes, []);
    });
  }

  it('reads several hashes, repeated or with commas', () => {
    const flag = '--discovery-token-ca-cert-hash';
    for (const flags of [`${flag} ${hash} ${flag} ${otherHash}`, `${flag} ${hash},${otherHash}`]) {
      const found = parse(`kubeadm join h:1 --token ${token} ${flags}`);
      assert.deepEqual(found.caCertHashes, [hash, otherHash]);
    }
  });

  it('reads --discovery-file with a token, or with none', () => {
    const found = parse(`kubeadm join --discovery-file https://a/b --tls-bootstrap-token ${token}`);
    assert.equal(found.discoveryFile, 'https://a/b');
    assert.equal(found.token, token);
    assert.equal(parse('kubeadm join --discovery-file=/a.conf').token, undefined);
  });

  it('reads the name of the Node, --dry-run, and the skipped verification', () => {
    const found = parse(
      `kubeadm join h:1 --token ${token} --node-name n1 --dry-run --discovery-token-unsafe-skip-ca-verification=true`,
    );
    assert.equal(found.nodeName, 'n1');
    assert.equal(found.dryRun, true);
    assert.equal(found.skipsCaVerification, true);
    const off = parse(`kubeadm join h:1 --token ${token} --dry-run=false`);
    assert.equal(off.dryRun, false);
  });

  it('says that a hash makes the skipped verification void, as in kubeadm', () => {
    const { notes } = parse(
      `kubeadm join h:1 --token ${token} --discovery-token-unsafe-skip-ca-verification --discovery-token-ca-cert-hash ${hash}`,
    );
    assert.match(notes.join(), /has no effect, as in kubeadm/);
  });

  it('reports flags of kubeadm and unknown flags, with or without values', () => {
    const { notes, endpoint } = parse(
      `kubeadm join --cri-socket unix:///run/x.sock -v5 --v 5 --new-flag value h:1 --other --token ${token}`,
    );
    assert.equal(endpoint, 'h:1');
    assert.match(notes.join('\n'), /^--join: ignored --cri-socket, -v: /m);
    assert.match(notes.join('\n'), /^--join: ignored --new-flag, --other: unknown/m);
  });

  for (const withheld of ['<value withheld>', "'<value withheld>'"]) {
    it(`takes a line with the token ${withheld} of kubeadm`, () => {
      const found = parse(
        `kubeadm join h:1 --token ${withheld} \\\n\t--discovery-token-ca-cert-hash ${hash}`,
      );
      assert.equal(found.token, undefined);
      assert.deepEqual(found.caCertHashes, [hash]);
    });
  }

  for (const [line, message] of [
    ['', /is empty/],
    ['kubectl get nodes', /begins with "kubectl" "get", expected kubeadm join/],
    ['kubeadm init', /begins with "kubeadm" "init"/],
    [`kubeadm join --token ${token}`, /neither HOST:PORT nor --discovery-file/],
    [`kubeadm join h:1 i:2 --token ${token}`, /has "i:2" after "h:1"/],
    [`kubeadm join h:1 --discovery-file f --token ${token}`, /exclude each other/],
    ['kubeadm join h:1', /has no --token/],
    [`kubeadm join h:1 --discovery-token ${token}`, /no --tls-bootstrap-token and no --token/],
    [`kubeadm join h:1 --tls-bootstrap-token ${token}`, /no --discovery-token and no --token/],
    ['kubeadm join h:1 --token', /ends after --token/],
    ['kubeadm join --config join.yaml', /has --config: nodecertd does not read/],
    [`kubeadm join h:1 --token ${token} --control-plane=maybe`, /must be true or false/],
    [`kubeadm join h:1 –-token ${token}`, /long dash where -- belongs/],
    [
      `kubeadm join h:1 --token ${token} --tls-bootstrap-token ghijkl.0123456789abcdef`,
      /different tokens for discovery and bootstrap/,
    ],
    [`kubeadm join ${token} h:1`, /after/],
  ] as const) {
    it(`refuses ${JSON.stringify(line.replaceAll(token, 'TOKEN'))}`, () => {
      assert.throws(
        () => parseJoinCommand(Buffer.from(line)),
        (error: Error & { code?: string; remedy?: string }) => {
          assert.equal(error.code, 'USAGE');
          assert.match(error.message, message);
          assert.ok(!`${error.message}${error.remedy}`.includes('0123456789abcdef'));
          return true;
        },
      );
    });
  }
});
