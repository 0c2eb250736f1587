import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { day, formatInstant, hour, minute } from '../../src/core/instant.ts';
import type { LeafOptions } from '../kube/support/certificates.ts';
import { makeAuthority } from '../kube/support/certificates.ts';
import { failureOf } from '../kube/support/requests.ts';
import { discover, TestCluster } from './support/test-cluster.ts';

const rightful: LeafOptions = { commonName: 'api', usages: ['server auth'], ips: ['127.0.0.1'] };

/** A second without milliseconds, as certificates have it. */
const now = Math.floor(Date.now() / 1000) * 1000;

interface Case {
  readonly what: string;
  readonly leaf?: Partial<LeafOptions>;
  readonly authorityEnd?: number;
  /** The Date header; absent to send none. */
  readonly date?: number;
  readonly message: string | RegExp;
  readonly remedy: RegExp;
}

const setClock = /^Set the clock of this machine: timedatectl set-ntp true$/;

const cases: readonly Case[] = [
  {
    what: 'a certificate for another name',
    leaf: { ips: ['10.0.0.1'], dnsNames: ['kubernetes'] },
    message: 'the certificate of the server is for 10.0.0.1, kubernetes, not for 127.0.0.1',
    remedy: /^Use an address that the certificate contains, or add 127\.0\.0\.1 to it/,
  },
  {
    what: 'a certificate without names',
    leaf: { ips: [] },
    message: 'the certificate of the server is for no name, not for 127.0.0.1',
    remedy: /apiServer\.certSANs/,
  },
  {
    what: 'a certificate without server auth',
    leaf: { usages: ['client auth'] },
    message: 'the certificate of the server is not valid (INVALID_PURPOSE)',
    remedy: /kubeadm certs renew apiserver$/,
  },
  {
    what: 'an expired certificate',
    leaf: { notBefore: now - 2 * day, notAfter: now - hour },
    date: now,
    message: `the certificate of the server (CN=api) expired at ${formatInstant(now - hour)}`,
    remedy: /^Renew the certificate .*kubeadm certs renew apiserver; .*timedatectl$/,
  },
  {
    what: 'an expired certificate without a Date header',
    leaf: { notBefore: now - 2 * day, notAfter: now - hour },
    message: `the certificate of the server (CN=api) expired at ${formatInstant(now - hour)}`,
    remedy: /timedatectl$/,
  },
  {
    what: 'an expired CA',
    authorityEnd: now - minute,
    date: now,
    message: `the CA of the server (CN=kubernetes) expired at ${formatInstant(now - minute)}`,
    remedy: /^Renew the CA/,
  },
  {
    what: 'an expired certificate if the clock is ahead',
    leaf: { notBefore: now - 2 * day, notAfter: now - hour },
    date: now - 3 * day,
    message:
      /^the certificate of the server has expired: the clock of this machine is 3d( \d+s)? ahead of the Date header of the server$/,
    remedy: setClock,
  },
  {
    what: 'an expired certificate if the clock is behind',
    leaf: { notBefore: now - 2 * day, notAfter: now - hour },
    date: now + day,
    message: `the certificate of the server (CN=api) expired at ${formatInstant(now - hour)}`,
    remedy: /timedatectl$/,
  },
  {
    what: 'a future certificate',
    leaf: { notBefore: now + hour, notAfter: now + day },
    date: now,
    message: `the certificate of the server (CN=api) is not valid before ${formatInstant(now + hour)}`,
    remedy: /^Check the clocks of this machine and of the control-plane node: timedatectl$/,
  },
  {
    what: 'a future certificate if the clock is behind',
    leaf: { notBefore: now + hour, notAfter: now + day },
    date: now + 20 * 365 * day,
    message:
      /^the certificate of the server is not valid yet: the clock of this machine is (7299d 2\dh|7300d) behind the Date header of the server$/,
    remedy: setClock,
  },
];

describe('explainUnverified()', () => {
  for (const { what, leaf = {}, authorityEnd, date, message, remedy } of cases) {
    it(`explains ${what}`, async () => {
      const authority = await makeAuthority(
        'kubernetes',
        authorityEnd === undefined ? {} : { notAfter: authorityEnd },
      );
      const pair = await authority.issue({ ...rightful, ...leaf });
      await using cluster = await TestCluster.start({ authority, pair });
      cluster.respond = (_, response) => {
        response.sendDate = false;
        if (date !== undefined) response.setHeader('date', new Date(date).toUTCString());
        cluster.sendClusterInfo(response);
      };
      const failure = await failureOf(discover(cluster));
      assert.equal(failure.code, 'API_UNTRUSTED');
      const text = failure.message.replace(/^127\.0\.0\.1:\d+: /, '');
      if (typeof message === 'string') assert.equal(text, message);
      else assert.match(text, message);
      assert.match(failure.remedy ?? '', remedy);
      assert.equal(cluster.reads, 1);
      assert.deepEqual(cluster.credentials, []);
    });
  }
});
