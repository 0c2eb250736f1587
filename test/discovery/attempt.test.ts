import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { DiscoveryRequest } from '../../src/discovery/discovery.ts';
import { signatureOf } from '../../src/discovery/signature.ts';
import { servingPair } from '../kube/support/api-server.ts';
import { makeAuthority } from '../kube/support/certificates.ts';
import { failureOf } from '../kube/support/requests.ts';
import { discover, pinOf, TestCluster, tokenOf, tokenText } from './support/test-cluster.ts';

describe('Attempt', () => {
  it('discovers a cluster whose CA is pinned', async () => {
    await using cluster = await TestCluster.start();
    const found = await discover(cluster);
    assert.equal(found.server, cluster.api.url);
    assert.equal(found.verifiedBy, 'pin');
    assert.deepEqual(found.warnings, []);
    assert.deepEqual(
      found.authorities.map(({ pin, isPinned }) => ({ pin, isPinned })),
      [{ pin: pinOf(cluster.authority.pem), isPinned: true }],
    );
  });

  it('sends GETs as kubeadm does, without a credential', async () => {
    await using cluster = await TestCluster.start();
    await discover(cluster);
    const [first, second] = cluster.api.requests;
    for (const request of [first, second]) {
      assert.equal(
        request?.url,
        '/api/v1/namespaces/kube-public/configmaps/cluster-info?timeout=10s',
      );
      assert.equal(request?.method, 'GET');
      assert.equal(request?.headers.authorization, undefined);
      assert.equal(request?.headers['user-agent'], 'nodecertd/1.2.3');
    }
  });

  it('accepts one of two pins', async () => {
    await using cluster = await TestCluster.start();
    const other = await makeAuthority('other');
    const pins = [pinOf(other.pem), pinOf(cluster.authority.pem)];
    assert.equal((await discover(cluster, { pins })).verifiedBy, 'pin');
  });

  it('refuses a signature of another secret at once', async () => {
    await using cluster = await TestCluster.start();
    const failure = await failureOf(
      discover(cluster, { token: tokenOf('abcdef.fedcba9876543210') }),
    );
    assert.equal(failure.code, 'CLUSTER_UNTRUSTED');
    assert.match(
      failure.message,
      /^127\.0\.0\.1:\d+: the signature of cluster-info does not match token abcdef: the secret of the token is wrong, or the server does not belong to the cluster \(subject CN=api, issuer CN=kubernetes\)$/,
    );
    assert.equal(cluster.reads, 1);
    assert.deepEqual(cluster.credentials, []);
  });

  it('refuses the signature of another token id', async () => {
    await using cluster = await TestCluster.start();
    const other = signatureOf(cluster.kubeconfig, tokenOf('ghijkl.0123456789abcdef'));
    cluster.respond = (_, response) =>
      cluster.sendClusterInfo(response, { ...cluster.data, 'jws-kubeconfig-abcdef': other });
    assert.equal((await failureOf(discover(cluster))).code, 'CLUSTER_UNTRUSTED');
  });

  it('refuses a cluster without a pinned CA, and names all hashes', async () => {
    await using cluster = await TestCluster.start();
    const [pinned, second] = await Promise.all([makeAuthority('pinned'), makeAuthority('second')]);
    cluster.bundle = [cluster.authority.pem, second.pem];
    const failure = await failureOf(discover(cluster, { pins: [pinOf(pinned.pem)] }));
    assert.equal(failure.code, 'CLUSTER_UNTRUSTED');
    const date = String.raw`until \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`;
    assert.match(
      failure.message,
      new RegExp(
        `: no CA of the cluster is pinned; pinned: ${pinOf(pinned.pem)}; the cluster has ` +
          String.raw`${pinOf(cluster.authority.pem)} \(CN=kubernetes, ${date}\), ` +
          String.raw`${pinOf(second.pem)} \(CN=second, ${date}\)$`,
      ),
    );
    assert.match(failure.remedy ?? '', /openssl x509 -pubkey/);
    assert.deepEqual(cluster.credentials, []);
  });

  it('refuses the pin of the certificate of the server', async () => {
    const authority = await makeAuthority('kubernetes');
    const pair = await servingPair(authority);
    await using cluster = await TestCluster.start({ authority, pair });
    const failure = await failureOf(discover(cluster, { pins: [pinOf(pair.cert)] }));
    assert.match(failure.message, /no CA of the cluster is pinned/);
  });

  it('refuses a bundle with a certificate that is not a CA', async () => {
    const authority = await makeAuthority('kubernetes');
    const pair = await servingPair(authority);
    await using cluster = await TestCluster.start({ authority, pair });
    cluster.bundle = [authority.pem, pair.cert];
    const failure = await failureOf(discover(cluster, { pins: [pinOf(pair.cert)] }));
    assert.equal(failure.code, 'API_BAD_RESPONSE');
    assert.match(failure.message, /has a certificate that is not a CA: number 2 of 2$/);
  });

  it('refuses a server with a CA of the bundle that is not pinned', async () => {
    const [pinned, evil] = await Promise.all([
      makeAuthority('kubernetes'),
      makeAuthority('kubernetes'),
    ]);
    await using cluster = await TestCluster.start({ authority: evil });
    cluster.bundle = [pinned.pem, evil.pem];
    const failure = await failureOf(discover(cluster, { pins: [pinOf(pinned.pem)] }));
    assert.equal(failure.code, 'CLUSTER_UNTRUSTED');
    assert.match(
      failure.message,
      new RegExp(
        String.raw`: the certificate of the server was issued by ${pinOf(evil.pem)} \(.*\), which is not pinned; pinned: ${pinOf(pinned.pem)} \(`,
      ),
    );
    assert.match(failure.remedy ?? '', /pass both hashes: --ca-cert-hash sha256:\S+ sha256:\S+$/);
    assert.deepEqual(cluster.credentials, []);
  });

  it('refuses a second response that differs', async () => {
    await using cluster = await TestCluster.start();
    const other = await makeAuthority('other');
    cluster.respond = (_, response) => {
      if (cluster.reads > 1) cluster.bundle = [cluster.authority.pem, other.pem];
      cluster.sendClusterInfo(response);
    };
    const failure = await failureOf(discover(cluster));
    assert.equal(failure.code, 'CLUSTER_UNTRUSTED');
    assert.match(failure.message, /the server returned a different cluster-info/);
    assert.deepEqual(cluster.credentials, []);
  });
});

describe('Attempt during a rollover of the CA', () => {
  it('trusts both CAs if only the CA of the server is pinned', async () => {
    await using cluster = await TestCluster.start();
    const next = await makeAuthority('kubernetes');
    cluster.bundle = [cluster.authority.pem, next.pem];
    const { authorities } = await discover(cluster);
    assert.deepEqual(
      authorities.map(({ pin, isPinned }) => [pin, isPinned]),
      [
        [pinOf(cluster.authority.pem), true],
        [pinOf(next.pem), false],
      ],
    );
  });

  it('returns only pinned CAs with onlyPinned', async () => {
    await using cluster = await TestCluster.start();
    const next = await makeAuthority('kubernetes');
    cluster.bundle = [next.pem, cluster.authority.pem];
    const { authorities } = await discover(cluster, { onlyPinned: true });
    assert.deepEqual(
      authorities.map(({ pin }) => pin),
      [pinOf(cluster.authority.pem)],
    );
  });

  it('succeeds if both CAs are pinned', async () => {
    await using cluster = await TestCluster.start();
    const next = await makeAuthority('kubernetes');
    cluster.bundle = [next.pem, cluster.authority.pem];
    const pins = cluster.bundle.map(pinOf);
    const { authorities } = await discover(cluster, { pins });
    assert.deepEqual(
      authorities.map(({ isPinned }) => isPinned),
      [true, true],
    );
  });

  it('accepts a bridge certificate from the pinned CA to the CA of the server', async () => {
    const [old, next] = await Promise.all([
      makeAuthority('kubernetes'),
      makeAuthority('kubernetes-new'),
    ]);
    const pair = await servingPair(next);
    const bridge = await old.certifyAuthority(next);
    await using cluster = await TestCluster.start({
      authority: next,
      pair: { ...pair, cert: pair.cert + bridge },
    });
    cluster.bundle = [old.pem, next.pem];
    const found = await discover(cluster, { pins: [pinOf(old.pem)], onlyPinned: true });
    assert.deepEqual(
      found.authorities.map(({ pin }) => pin),
      [pinOf(old.pem)],
    );
  });

  it('accepts a pinned intermediate CA as the end of a chain', async () => {
    const [root, intermediate] = await Promise.all([makeAuthority('root'), makeAuthority('sub')]);
    const certificate = await root.certifyAuthority(intermediate);
    await using cluster = await TestCluster.start({
      authority: intermediate,
      bundle: [root.pem, certificate],
    });
    const found = await discover(cluster, { pins: [pinOf(certificate)], onlyPinned: true });
    assert.deepEqual(
      found.authorities.map(({ subject }) => subject),
      ['CN=sub'],
    );
  });

  it('recognizes a cluster-info that was not updated', async () => {
    const [old, next] = await Promise.all([
      makeAuthority('kubernetes'),
      makeAuthority('kubernetes'),
    ]);
    await using cluster = await TestCluster.start({ authority: next, bundle: [old.pem] });
    const failure = await failureOf(discover(cluster, { pins: [pinOf(old.pem)] }));
    assert.equal(failure.code, 'CLUSTER_UNTRUSTED');
    assert.match(
      failure.message,
      /no CA in cluster-info issued the certificate of the server \(subject CN=api, issuer CN=kubernetes\)/,
    );
    assert.deepEqual(cluster.credentials, []);
  });
});

describe('Attempt with another server in cluster-info', () => {
  it('verifies that server, and sends the token only there', async () => {
    await using named = await TestCluster.start();
    await using cluster = await TestCluster.start({ authority: named.authority });
    cluster.named = named.api.url;
    const found = await discover(cluster);
    assert.equal(found.server, named.api.url);
    assert.deepEqual(cluster.credentials, []);
    assert.deepEqual(named.credentials, [`Bearer ${tokenText}`]);
  });

  it('takes the server of the request instead', async () => {
    await using wanted = await TestCluster.start();
    await using cluster = await TestCluster.start({ authority: wanted.authority });
    cluster.named = 'https://192.0.2.1:6443';
    const found = await discover(cluster, { server: wanted.endpoint });
    assert.equal(found.server, wanted.api.url);
  });

  it('refuses a server that no CA in cluster-info has issued', async () => {
    await using stranger = await TestCluster.start();
    await using cluster = await TestCluster.start();
    cluster.named = stranger.api.url;
    const failure = await failureOf(discover(cluster));
    assert.equal(failure.code, 'CLUSTER_UNTRUSTED');
    assert.match(
      failure.message,
      new RegExp(`: server ${stranger.api.url}: no CA in cluster-info`),
    );
    assert.deepEqual([...cluster.credentials, ...stranger.credentials], []);
  });

  it('recognizes the server of the endpoint in another spelling', async () => {
    await using cluster = await TestCluster.start();
    cluster.named = `${cluster.api.url}/`;
    await discover(cluster);
    assert.equal(cluster.reads, 2);
  });
});

describe('Attempt without pins', () => {
  const unpinned: Partial<DiscoveryRequest> = { pins: [] };

  it('is verified by the token, with a warning', async () => {
    await using cluster = await TestCluster.start();
    const found = await discover(cluster, unpinned);
    assert.equal(found.verifiedBy, 'token');
    assert.match(found.warnings.join(), /^no hash verifies the CA of the cluster/);
    assert.equal(found.authorities[0]?.isPinned, false);
  });

  it('still refuses a server that no CA in cluster-info has issued', async () => {
    const other = await makeAuthority('other');
    await using cluster = await TestCluster.start({ bundle: [other.pem] });
    const failure = await failureOf(discover(cluster, unpinned));
    assert.equal(failure.code, 'CLUSTER_UNTRUSTED');
    assert.deepEqual(cluster.credentials, []);
  });

  it('still refuses a wrong signature', async () => {
    await using cluster = await TestCluster.start();
    const token = tokenOf('abcdef.fedcba9876543210');
    assert.equal(
      (await failureOf(discover(cluster, { ...unpinned, token }))).code,
      'CLUSTER_UNTRUSTED',
    );
  });
});

describe('Attempt with a token', () => {
  it('reports a token that does not authenticate', async () => {
    await using cluster = await TestCluster.start();
    cluster.authenticating = [];
    const failure = await failureOf(discover(cluster));
    assert.equal(failure.code, 'TOKEN_REJECTED');
    assert.match(
      failure.message,
      /: token abcdef does not authenticate: it lacks usage-bootstrap-authentication or has expired$/,
    );
  });

  it('returns the warnings about cluster-info', async () => {
    await using cluster = await TestCluster.start();
    cluster.extraKeys = { 'proxy-url': 'http://127.0.0.1:9' };
    const { warnings } = await discover(cluster);
    assert.deepEqual(warnings, ['cluster-info sets proxy-url, which nodecertd ignores']);
  });
});
