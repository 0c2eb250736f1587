import { parseBootstrapToken } from '../../../src/core/bootstrap-token.ts';
import { parseCaPin } from '../../../src/core/ca-pin.ts';
import { AgentError } from '../../../src/core/errors.ts';
import { formatHostPort, parseApiEndpoint } from '../../../src/core/host-port.ts';
import { parseJoinCommand } from '../../../src/discovery/join-command.ts';
import { tokenText } from '../../discovery/support/test-cluster.ts';
import { oddTexts } from './json.ts';
import { mutated } from './mutate.ts';
import type { FuzzTarget } from './target.ts';
import { requireThat } from './target.ts';

/** The arguments of `nodecertd discover`. */
const discoveryWords: FuzzTarget = {
  name: 'discovery-words',
  module: import.meta.url,
  fault: 'texts like bootstrap tokens, hashes of CAs, addresses of API servers',
  inputs: 200_000,
  generator: () => {
    const pin = `sha256:${'0aF9'.repeat(16)}`;
    const tokens = ['abcdef.0123456789abcdef', ' abcdef.0123456789abcdef\r\n'];
    const hosts = ['10.0.0.1', 'fd00::1', '[fd00::1]', 'api.example.com', 'localhost'];
    const addresses = hosts.flatMap((host) => [host, `${host}:6443`, `https://${host}:6443/`]);
    const seeds = [pin, ...tokens, ...addresses, ...oddTexts].map((text) => Buffer.from(text));
    const words = [
      'sha256:',
      'SHA256:',
      '.',
      ':',
      '[',
      ']',
      '/',
      '@',
      '?',
      '%',
      '0',
      'z',
      'A',
      ' ',
    ];
    return (random) => mutated({ seeds, words }, random);
  },
  open: () => ({
    feed: (input) => [tokenIn(input), pinIn(input), endpointIn(input)].find(Boolean) ?? 'none',
  }),
};

function tokenIn(input: Uint8Array): string | undefined {
  const text = Buffer.from(input).toString('latin1');
  const expected = /^[\t-\r ]*([a-z0-9]{6}\.[a-z0-9]{16})[\t-\r ]*$/.exec(text)?.[1];
  using token = parseBootstrapToken(input);
  const found = token && Buffer.from(token.text.expose()).toString('latin1');
  requireThat(found === expected, () => `the token is ${found}, not ${expected}`);
  requireThat(token?.id === expected?.slice(0, 6), () => `the id is ${token?.id}`);
  return token && 'token';
}

function pinIn(input: Uint8Array): string | undefined {
  const text = Buffer.from(input).toString();
  const pin = parseCaPin(text);
  const expected = /^[sS][hH][aA]256:[0-9a-fA-F]{64}$/.test(text) ? text.toLowerCase() : undefined;
  requireThat(pin === expected, () => `the pin is ${pin}, not ${expected}`);
  return pin && 'pin';
}

/** Node's URL parser, and the program itself, read the address in the same way again. */
function endpointIn(input: Uint8Array): string | undefined {
  const endpoint = parseApiEndpoint(Buffer.from(input).toString());
  if (endpoint === undefined) return undefined;
  const text = formatHostPort(endpoint);
  const again = parseApiEndpoint(text);
  requireThat(
    again?.host === endpoint.host && again.port === endpoint.port,
    () => `${text} changes when it is read again`,
  );
  const url = new URL(`https://${text}/`);
  requireThat(
    url.hostname.replace(/^\[|\]$/g, '') === endpoint.host && url.pathname === '/',
    () => `${text} leads to ${url.href}`,
  );
  requireThat((url.port || '443') === String(endpoint.port), () => `the port of ${url.href}`);
  return 'address';
}

/** The line of kubeadm, which people copy with line breaks, quotes and prompts. */
const joinLine: FuzzTarget = {
  name: 'join-line',
  module: import.meta.url,
  fault: 'damaged kubeadm join lines',
  inputs: 200_000,
  generator: () => {
    const hash = `--discovery-token-ca-cert-hash sha256:${'89ab'.repeat(16)}`;
    const seeds = [
      `kubeadm join 10.0.0.1:6443 --token ${tokenText} \\\n\t${hash}\n`,
      `$ sudo -E kubeadm join [fd00::1]:6443 --token=${tokenText} ${hash},${hash} -v5`,
      `kubeadm join --discovery-file "https://a/b c" --tls-bootstrap-token '${tokenText}'`,
      `kubeadm join a:1 --discovery-token ${tokenText} --tls-bootstrap-token ${tokenText} --control-plane`,
      `kubeadm join a:1 --token ${tokenText} --discovery-token-unsafe-skip-ca-verification --node-name n1`,
    ].map((text) => Buffer.from(text));
    const flags = [
      '--token',
      '--config',
      '--discovery-file',
      '--node-name',
      '--dry-run',
      '-v',
      '=',
    ];
    const marks = [
      '\\',
      '\\\n',
      '"',
      "'",
      '$(',
      '`',
      ';',
      '&&',
      '#',
      '\u2014',
      '\u00a0',
      '\r\n',
      '\0',
    ];
    const more = ['<value withheld>', tokenText, '"'.repeat(3_000), 'a '.repeat(3_000)];
    const words = [...flags, ...marks, ...more];
    return (random) => mutated({ seeds, words }, random);
  },
  open: () => ({
    feed: (input) =>
      withoutToken(() => {
        using join = parseJoinCommand(Uint8Array.from(input));
        requireThat(
          (join.endpoint === undefined) !== (join.discoveryFile === undefined),
          () => 'it has no place to discover from, or two',
        );
        const notes = join.notes.join();
        requireThat(!notes.includes(tokenText), () => `a note has the token: ${notes}`);
        return join.token === undefined ? 'without a token' : 'ok';
      }),
  }),
};

/** Requires that an error does not have the token, which is too short for `judge()`. */
function withoutToken<T>(work: () => T): T {
  try {
    return work();
  } catch (error) {
    const text = error instanceof AgentError ? `${error.message} ${error.remedy}` : '';
    requireThat(!text.includes(tokenText), () => `it shows the token: ${text}`);
    throw error;
  }
}

export const targets: readonly FuzzTarget[] = [discoveryWords, joinLine];
