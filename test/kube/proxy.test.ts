import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { AgentError } from '../../src/core/errors.ts';
import { proxyFor } from '../../src/kube/proxy.ts';

const server = 'https://api.example.com:6443';
const proxy = 'http://proxy.example.net:3128';

describe('proxyFor()', () => {
  const variables: readonly (readonly [string, Record<string, string>, string | undefined])[] = [
    ['HTTPS_PROXY', { HTTPS_PROXY: proxy }, 'proxy.example.net:3128 (HTTPS_PROXY)'],
    ['https_proxy', { https_proxy: proxy }, 'proxy.example.net:3128 (https_proxy)'],
    [
      'HTTPS_PROXY before https_proxy',
      { HTTPS_PROXY: 'http://a', https_proxy: 'http://b' },
      'a (HTTPS_PROXY)',
    ],
    [
      'https_proxy when HTTPS_PROXY is empty',
      { HTTPS_PROXY: '', https_proxy: 'http://b' },
      'b (https_proxy)',
    ],
    ['host:port without a scheme', { HTTPS_PROXY: 'proxy:3128' }, 'proxy:3128 (HTTPS_PROXY)'],
    [
      'an address without a scheme',
      { HTTPS_PROXY: '10.0.0.9:3128' },
      '10.0.0.9:3128 (HTTPS_PROXY)',
    ],
    ['an https:// proxy', { HTTPS_PROXY: 'https://proxy' }, 'https://proxy (HTTPS_PROXY)'],
    ['no user and no password', { HTTPS_PROXY: 'http://u:secret@proxy' }, 'proxy (HTTPS_PROXY)'],
    ['nothing for HTTP_PROXY alone', { HTTP_PROXY: proxy, http_proxy: proxy }, undefined],
    ['nothing without variables', {}, undefined],
    ['nothing when no_proxy matches', { HTTPS_PROXY: proxy, no_proxy: 'example.com' }, undefined],
  ];
  for (const [name, environment, label] of variables) {
    it(`shows ${name}`, () => {
      assert.equal(proxyFor({ server }, environment)?.label, label);
    });
  }

  it('ignores the environment if the cluster says so', () => {
    const direct = { server, ignoresProxyVariables: true };
    assert.equal(proxyFor(direct, { HTTPS_PROXY: proxy }), undefined);
    const found = proxyFor({ ...direct, proxyUrl: 'http://mine:1' }, { HTTPS_PROXY: proxy });
    assert.equal(found?.label, 'mine:1 (proxy-url)');
  });

  it('prefers proxy-url to the environment', () => {
    const environment = { HTTPS_PROXY: proxy, NO_PROXY: '*' };
    const found = proxyFor({ server, proxyUrl: 'http://u:p@mine:1' }, environment);
    assert.deepEqual(found, {
      url: 'http://u:p@mine:1',
      source: 'proxy-url',
      label: 'mine:1 (proxy-url)',
    });
  });

  // golang.org/x/net/http/httpproxy gives the same result for each row.
  const bypasses: readonly (readonly [string, string, 'direct' | 'proxy'])[] = [
    ['localhost', '', 'direct'],
    ['127.0.0.1', '', 'direct'],
    ['127.9.9.9', '', 'direct'],
    ['[::1]', '', 'direct'],
    ['[::ffff:127.0.0.1]', '', 'direct'],
    ['api.example.com', '', 'proxy'],
    ['api.example.com', '*', 'direct'],
    ['10.0.0.1', 'other, *', 'direct'],
    ['api.example.com', 'api.example.com', 'direct'],
    ['api.example.com', 'EXAMPLE.com', 'direct'],
    ['api.example.com', '.example.com', 'direct'],
    ['api.example.com', '*.example.com', 'direct'],
    ['example.com', '.example.com', 'proxy'],
    ['example.com', '*.example.com', 'proxy'],
    ['badexample.com', 'example.com', 'proxy'],
    ['bücher.example', 'BÜCHER.example', 'direct'],
    ['api.example.com', 'a.org , example.com', 'direct'],
    ['api.example.com', 'example.com:6443', 'direct'],
    ['api.example.com', 'example.com:443', 'proxy'],
    ['api.example.com', ':6443', 'proxy'],
    ['api.example.com', 'http://example.com', 'proxy'],
    ['10.1.2.3', '10.1.2.3', 'direct'],
    ['10.1.2.3', '10.1.2.3:6443', 'direct'],
    ['10.1.2.3', '10.1.2.3:443', 'proxy'],
    ['10.1.2.3', '10.0.0.0/8', 'direct'],
    ['10.1.2.3', '10.0.0.0/33', 'proxy'],
    ['10.1.2.3', '.2.3', 'proxy'],
    ['11.1.2.3', '10.0.0.0/8', 'proxy'],
    ['[::ffff:10.1.2.3]', '10.0.0.0/8', 'direct'],
    ['10.1.2.3', '::/0', 'proxy'],
    ['[fd00::1]', 'fd00::/8', 'direct'],
    ['[fd00::1]', 'fd00::1', 'direct'],
    ['[fd00::1]', 'fd00:0:0::1', 'direct'],
    ['[fd00::1]', '[fd00::1]:6443', 'direct'],
    ['[fd00::1]', '[fd00::1]:443', 'proxy'],
    ['[fd00::1]', '[fd00::1]', 'proxy'],
  ];
  for (const [host, noProxy, way] of bypasses) {
    it(`reaches ${host} ${way === 'direct' ? 'directly' : 'by proxy'} with NO_PROXY=${noProxy}`, () => {
      const environment = { HTTPS_PROXY: proxy, NO_PROXY: noProxy };
      const found = proxyFor({ server: `https://${host}:6443` }, environment);
      assert.equal(found === undefined ? 'direct' : 'proxy', way);
    });
  }

  it('uses port 443 for a server without a port', () => {
    const environment = { HTTPS_PROXY: proxy, NO_PROXY: 'example.com:443' };
    assert.equal(proxyFor({ server: 'https://example.com' }, environment), undefined);
  });

  for (const value of ['socks5://proxy:1080', 'ftp://proxy', 'http://u:%zz@proxy', 'secret word']) {
    it(`refuses the variable ${value} without repeating it`, () => {
      assert.throws(
        () => proxyFor({ server }, { HTTPS_PROXY: value }),
        (error) =>
          error instanceof AgentError &&
          error.code === 'API_UNREACHABLE' &&
          error.message.startsWith('the environment variable HTTPS_PROXY does not contain') &&
          !error.message.includes(value),
      );
    });
  }
});
