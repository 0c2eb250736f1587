import { parseBootstrapToken, withoutTokens } from '../core/bootstrap-token.ts';
import type { CaPin } from '../core/ca-pin.ts';
import { caPinCommand, parseCaPin } from '../core/ca-pin.ts';
import { AgentError } from '../core/errors.ts';
import { isPlaceholderHostName } from '../core/host-name.ts';
import type { HostPort } from '../core/host-port.ts';
import { parseApiEndpoint } from '../core/host-port.ts';
import { isNodeName } from '../core/node-name.ts';
import type { FileSource } from '../discovery/discovery-file.ts';
import { parseProxy } from '../kube/proxy.ts';
import { pathOf } from './discover-options.ts';

/** Quotes a value for an error. A token in the wrong place is not shown. */
function quoted(text: string): string {
  return `"${withoutTokens(text)}"`;
}

export function usageError(message: string, remedy = 'See: nodecertd discover --help'): AgentError {
  return new AgentError('USAGE', message, { remedy });
}

/** @throws AgentError USAGE */
export function parseAddress(option: string, text: string): HostPort {
  // A token has the form of a host name, and would be sent to DNS servers.
  const isToken = parseBootstrapToken(Buffer.from(text)) !== undefined;
  const address = isToken ? undefined : parseApiEndpoint(text.trim());
  if (address !== undefined) return address;
  if (/^http:\/\//i.test(text)) {
    throw usageError(
      `${option} ${quoted(text)} has no TLS, and discovery needs TLS`,
      'Use the https port of the API server, usually 6443',
    );
  }
  throw usageError(
    `${option} ${quoted(text)} is not the address of an API server`,
    'Use HOST or HOST:PORT, such as 10.0.0.1:6443, [fd00::1]:6443 or api.example.com',
  );
}

/** @throws AgentError USAGE */
export function parsePin(option: string, text: string): CaPin {
  const pin = parseCaPin(text.trim());
  if (pin !== undefined) return pin;
  const digits = /^sha256:([\da-f]*)$/i.exec(text.trim())?.[1];
  const found =
    digits === undefined
      ? 'is not sha256: and 64 hexadecimal digits'
      : `has ${digits.length} hexadecimal digits after sha256:, expected 64`;
  const remedy =
    option === '--discovery-file-hash'
      ? 'Compute the hash where you trust the file: sha256sum FILE; then write sha256: before it'
      : `Print the digits on a control-plane node, and write sha256: before them: ${caPinCommand}`;
  throw usageError(`${option} ${quoted(text)} ${found}`, remedy);
}

/** A path, or an https:// URL. @throws AgentError USAGE */
export function parseFileSource(text: string, workingDirectory: string): FileSource {
  const option = '--discovery-file';
  if (!/^[a-z][a-z\d+.-]*:\/\//i.test(text)) {
    return { kind: 'file', path: pathOf(text, workingDirectory) };
  }
  const url = URL.parse(text);
  if (url !== null && (url.username !== '' || url.password !== '')) {
    throw usageError(
      `${option} has a user or a password in its URL, which other users can see with ps`,
      'Copy the file to this machine, and name its path',
    );
  }
  if (url?.protocol === 'https:') return { kind: 'url', url };
  throw usageError(
    `${option} ${quoted(text)} is not an https:// URL`,
    'Use an https:// URL, or copy the file to this machine and name its path',
  );
}

/** Never shows the value, which may contain a password. @throws AgentError USAGE */
export function parseProxyOption(text: string): string {
  const url = parseProxy(text);
  if (url !== undefined && `${url.pathname}${url.search}${url.hash}` === '/') return url.href;
  throw usageError(
    '--proxy is not the URL of an http:// or https:// proxy',
    'Use a URL without a path, such as http://proxy.example.com:3128',
  );
}

/**
 * The name as the kubelet writes it. Undefined if nothing but a host name such as `localhost` is
 * known.
 * @throws AgentError USAGE
 */
export function parseNodeName(option: string | undefined, hostName: string): string | undefined {
  const name = (option ?? hostName).trim().toLowerCase();
  if (option === undefined && isPlaceholderHostName(name)) return undefined;
  if (isNodeName(name)) return name;
  throw usageError(
    option === undefined
      ? `the host name ${quoted(hostName)} cannot be the name of a Node`
      : `--node-name ${quoted(option)} cannot be the name of a Node`,
    'Set --node-name to letters, digits, dashes and dots',
  );
}
