import assert from 'node:assert/strict';
import type { NetworkInterfaceInfo } from 'node:os';
import { networkInterfaces } from 'node:os';
import { describe, it } from 'node:test';
import { interfaceAddresses } from '../../src/sys/network-interfaces.ts';

function info(address: string, internal = false): NetworkInterfaceInfo {
  const common = { address, netmask: '', mac: '02:00:00:00:00:01', internal, cidr: null };
  return address.includes(':')
    ? { ...common, family: 'IPv6', scopeid: 0 }
    : { ...common, family: 'IPv4' };
}

describe('interfaceAddresses()', () => {
  const made = [
    'kube-ipvs0',
    'kube-bridge',
    'nodelocaldns',
    'docker0',
    'docker_gwbridge',
    'cni0',
    'cbr0',
    'flannel.1',
    'flannel-v6.1',
    'cali1a2b3c4d5e6',
    'vxlan.calico',
    'wireguard.cali',
    'veth0a1b2c3d',
    'lxc_health',
    'cilium_host',
    'tunl0',
    'dummy0',
    'virbr0',
    'br-0a1b2c3d4e5f',
  ];
  for (const name of made) {
    it(`leaves out ${name}, an interface of the cluster network`, () => {
      const all = { eth0: [info('10.0.0.1')], [name]: [info('10.96.0.1'), info('fd00::1')] };
      assert.deepEqual(interfaceAddresses(all), ['10.0.0.1']);
    });
  }

  for (const name of ['eth0', 'enp3s0', 'ens192', 'bond0.12', 'wlan0', 'br0', 'br-lan', 'wg0']) {
    it(`includes ${name}`, () => {
      assert.deepEqual(interfaceAddresses({ [name]: [info('10.0.0.1')] }), ['10.0.0.1']);
    });
  }

  const addresses: readonly (readonly [string, NetworkInterfaceInfo, readonly string[]])[] = [
    ['drops IPv4 loopback', info('127.0.0.1', true), []],
    ['drops IPv6 loopback', info('::1', true), []],
    ['drops an internal one that is not in 127/8', info('10.0.0.9', true), []],
    ['drops IPv4 link-local', info('169.254.10.1'), []],
    ['drops IPv6 link-local', info('fe80::1'), []],
    ['drops the end of fe80::/10', info('FEBF::1'), []],
    ['keeps what only looks like link-local', info('169.25.4.1'), ['169.25.4.1']],
    ['keeps a unique local address', info('fd00::1'), ['fd00::1']],
    ['writes IPv6 in one form', info('2001:DB8:0:0::1'), ['2001:db8::1']],
  ];
  for (const [name, address, expected] of addresses) {
    it(name, () => {
      assert.deepEqual(interfaceAddresses({ eth0: [address] }), expected);
    });
  }

  it('lists each address once, sorted', () => {
    const all = { eth1: [info('10.0.0.2'), info('10.0.0.1')], eth0: [info('10.0.0.2')] };
    assert.deepEqual(interfaceAddresses(all), ['10.0.0.1', '10.0.0.2']);
  });

  it('reads the interfaces of this machine by default', () => {
    const machine = interfaceAddresses(networkInterfaces());
    assert.deepEqual(interfaceAddresses(), machine);
    assert.equal(machine.includes('127.0.0.1') || machine.includes('::1'), false);
  });
});
