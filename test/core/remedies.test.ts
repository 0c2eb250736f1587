import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { discoverCommand, discoverRemedy, endpointOf } from '../../src/core/remedies.ts';

const hash = `sha256:${'0a'.repeat(32)}` as const;

describe('discoverCommand()', () => {
  it('leaves out the default path of the bootstrap kubeconfig', () => {
    const output = '/etc/kubernetes/bootstrap-kubelet.conf';
    assert.equal(
      discoverCommand({ endpoints: ['a:1', 'b:2'], tokenFile: '/t', output }),
      'nodecertd discover --endpoint a:1 --endpoint b:2 --token-file /t --ca-cert-hash sha256:HEX',
    );
  });
});

describe('discoverRemedy()', () => {
  it('names the endpoints and the token file of the configuration', () => {
    const discovery = {
      endpoints: [{ host: 'fd00::1', port: 6_443 }],
      tokenFile: '/etc/kubernetes/token',
      pins: [hash],
    };
    const remedy = discoverRemedy({ bootstrap: { discovery, deleteAfterUse: false } });
    assert.ok(remedy.includes('--endpoint [fd00::1]:6443 --token-file /etc/kubernetes/token '));
    assert.match(
      remedy,
      /; then set bootstrapKubeconfig: \/etc\/kubernetes\/bootstrap-kubelet\.conf/,
    );
  });

  it('names the server of the kubeconfig otherwise', () => {
    const config = { bootstrapKubeconfig: '/b.conf', bootstrap: { deleteAfterUse: false } };
    assert.match(
      discoverRemedy(config, 'https://10.0.0.1:6443'),
      /: nodecertd discover --endpoint 10\.0\.0\.1:6443 --token-file FILE .* --output \/b\.conf$/,
    );
  });
});

describe('endpointOf()', () => {
  it('uses port 443 for a URL without a port', () => {
    assert.equal(endpointOf('https://api.example.com'), 'api.example.com:443');
    assert.equal(endpointOf('https://[fd00::1]:6443/'), '[fd00::1]:6443');
    assert.equal(endpointOf(undefined), 'HOST:PORT');
  });
});
