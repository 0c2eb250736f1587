import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { LocalKubelet } from '../../../src/kubelet/local-kubelet.ts';
import {
  componentEndpoints,
  healthPort,
  kubeletEndpoint,
} from '../../../src/pki/components/component-endpoints.ts';
import { parseComponentFlags } from '../../../src/pki/components/component-flags.ts';
import type { Component } from '../../../src/pki/components/component.ts';

function endpoints(name: Component['name'], ...words: readonly string[]): string[] {
  const found = componentEndpoints({
    name,
    source: { kind: 'process', pid: 1 },
    flags: parseComponentFlags(words),
    sharesNetwork: true,
    hostPath: (path) => (path.startsWith('/image/') ? undefined : path),
  });
  return found.map(({ name: endpoint, host, port, serverName = '-', certificateFile = '-' }) =>
    [endpoint, host, port, serverName, certificateFile].join(' '),
  );
}

describe('componentEndpoints()', () => {
  const api = 'kube-apiserver';
  const own = 'apiserver-loopback-client -';
  for (const [name, words, expected] of [
    [
      api,
      ['--tls-cert-file=/x.crt'],
      [`${api} 127.0.0.1 6443 - /x.crt`, `${api} 127.0.0.1 6443 ${own}`],
    ],
    [
      api,
      [
        '--bind-address=10.0.0.5',
        '--secure-port=443',
        '--cert-dir=/c',
        '--advertise-address=1.1.1.1',
      ],
      [`${api} 10.0.0.5 443 - /c/apiserver.crt`, `${api} 10.0.0.5 443 ${own}`],
    ],
    [
      api,
      [
        '--bind-address=::',
        '--tls-cert-file=/image/x.crt',
        '--tls-sni-cert-key=/a.crt,/a.key:foo,*.b.example,10.0.0.9',
        '--tls-sni-cert-key=/c.crt,/c.key',
      ],
      [
        `${api} 127.0.0.1 6443 - -`,
        `${api} 127.0.0.1 6443 foo /a.crt`,
        `${api} 127.0.0.1 6443 nodecertd.b.example /a.crt`,
        `${api} 10.0.0.9 6443 - /a.crt`,
        `${api} 127.0.0.1 6443 ${own}`,
      ],
    ],
    [api, ['--bind-address=$(HOST_IP)'], []],
    [api, ['--secure-port=x'], []],
    [api, ['--bind-address=host.example'], []],
    [
      'kube-scheduler',
      ['--tls-sni-cert-key=/a.crt,/a.key:a b,fd00::9'],
      ['kube-scheduler 127.0.0.1 10259 - -', 'kube-scheduler fd00::9 10259 - /a.crt'],
    ],
    [
      'kube-controller-manager',
      ['--bind-address=127.0.0.1'],
      ['kube-controller-manager 127.0.0.1 10257 - -'],
    ],
    ['kube-scheduler', ['--bind-address=0.0.0.0'], ['kube-scheduler 127.0.0.1 10259 - -']],
    ['kube-scheduler', ['--secure-port=0'], []],
    [
      'cloud-controller-manager',
      ['--tls-cert-file=/x.crt'],
      ['cloud-controller-manager 127.0.0.1 10258 - /x.crt'],
    ],
    [
      'etcd',
      [
        '--listen-client-urls=https://10.0.0.5:2379,https://127.0.0.1:2379',
        '--listen-peer-urls=https://[fd00::5]:2380',
        '--cert-file=/c.crt',
        '--peer-cert-file=/p.crt',
      ],
      ['etcd-client 127.0.0.1 2379 - /c.crt', 'etcd-peer fd00::5 2380 - /p.crt'],
    ],
    [
      'etcd',
      ['--listen-client-urls=http://127.0.0.1:2379,https://0.0.0.0:4001', '--listen-peer-urls=x'],
      ['etcd-client 127.0.0.1 4001 - -'],
    ],
    ['etcd', ['--listen-client-urls=https://$(POD_IP):2379,https://etcd.example:2379'], []],
    ['etcd', ['--listen-peer-urls=https://localhost:2380'], ['etcd-peer 127.0.0.1 2380 - -']],
    ['etcd', [], []],
    ['kube-proxy', ['--kubeconfig=/x'], []],
  ] as const) {
    it(`finds ${expected.length} for ${name} ${words.join(' ')}`, () => {
      assert.deepEqual(endpoints(name, ...words), expected);
    });
  }

  it('finds none in a pod with a network of its own', () => {
    const pod: Component = {
      name: 'kube-apiserver',
      source: { kind: 'static-pod', manifest: '/m', container: 'a' },
      flags: [],
      sharesNetwork: false,
      hostPath: (path) => path,
    };
    assert.deepEqual(componentEndpoints(pod), []);
  });
});

describe('kubeletEndpoint()', () => {
  const kubelet: LocalKubelet = {
    found: true,
    certificateDirectory: '/pki',
    staticPodPath: '/m',
    address: '0.0.0.0',
    port: 10_250,
    serverTLSBootstrap: false,
    problems: [],
  };
  for (const [change, expected] of [
    [{}, '127.0.0.1 10250 /pki/kubelet.crt'],
    [{ serverTLSBootstrap: true }, '127.0.0.1 10250 /pki/kubelet-server-current.pem'],
    [{ serverTLSBootstrap: true, tlsCertFile: '/x.crt' }, '127.0.0.1 10250 /x.crt'],
    [{ address: '10.0.0.5', port: 1 }, '10.0.0.5 1 /pki/kubelet.crt'],
    [{ found: false }, undefined],
    [{ port: 0 }, undefined],
  ] as const) {
    it(`is ${expected ?? 'nothing'} for ${JSON.stringify(change)}`, () => {
      const found = kubeletEndpoint({ ...kubelet, ...change });
      const shown = found && [found.host, found.port, found.certificateFile].join(' ');
      assert.equal(shown, expected);
    });
  }
});

function healthPortOf(name: Component['name'], ...words: readonly string[]): string {
  const flags = parseComponentFlags(words);
  const source = { kind: 'process', pid: 1 } as const;
  const found = healthPort({ name, source, flags, sharesNetwork: true, hostPath: String });
  return found === undefined ? '-' : `${found.host}:${found.port}${found.plainPath ?? ''}`;
}

describe('healthPort()', () => {
  const client = '--listen-client-urls=https://127.0.0.1:2379';
  for (const [name, words, expected] of [
    ['kube-scheduler', [], '127.0.0.1:10259'],
    ['etcd', [client, '--listen-metrics-urls=http://127.0.0.1:2381'], '127.0.0.1:2381/health'],
    ['etcd', [client, '--listen-metrics-urls=https://127.0.0.1:2381'], '-'],
    ['etcd', [client], '-'],
  ] as const) {
    it(`of ${name} ${words.join(' ')} is ${expected}`, () => {
      assert.equal(healthPortOf(name, ...words), expected);
    });
  }
});
