import type { BootstrapToken } from '../core/bootstrap-token.ts';
import { caPinCommand } from '../core/ca-pin.ts';
import { second } from '../core/instant.ts';
import type { DiscoveryRequest } from '../discovery/discovery.ts';
import type { FileDiscoveryRequest } from '../discovery/file-discovery.ts';
import type { JoinCommand } from '../discovery/join-command.ts';
import { parseJoinCommand } from '../discovery/join-command.ts';
import type { BootstrapFiles } from '../store/bootstrap-kubeconfig.ts';
import type { CliContext } from './context.ts';
import { combinationFault, fileFault } from './discover-combinations.ts';
import type { DiscoverFormat, DiscoverOptions } from './discover-options.ts';
import { pathOf } from './discover-options.ts';
import type { SecretInput } from './discover-token.ts';
import { exposedTokenFile, readInput, readTokenFile, requireToken } from './discover-token.ts';
import {
  parseAddress,
  parseFileSource,
  parseNodeName,
  parsePin,
  parseProxyOption,
  usageError,
} from './discover-values.ts';

/** The checked command line. Disposal wipes the token. */
export interface DiscoverInput extends Disposable {
  readonly discovery:
    | { readonly kind: 'endpoints'; readonly request: DiscoveryRequest }
    | { readonly kind: 'file'; readonly request: FileDiscoveryRequest };
  readonly files: BootstrapFiles;
  /** Undefined if no name is known, because the host name is `localhost`. */
  readonly nodeName: string | undefined;
  readonly dryRun: boolean;
  readonly format: DiscoverFormat;
  /** One sentence each. */
  readonly warnings: readonly string[];
}

type InputContext = Pick<CliContext, 'environment' | 'stderr'>;

/**
 * Reads and checks everything that the command line says, without sending a packet.
 * @throws AgentError USAGE, CONFIG_UNREADABLE; the message names the option and shows no token
 */
export async function readDiscoverInput(
  options: DiscoverOptions,
  context: InputContext,
): Promise<DiscoverInput> {
  const fault = combinationFault(options);
  if (fault !== undefined) throw usageError(fault);
  using join = await readJoin(options.join, context);
  const { environment } = context;
  const common = {
    files: filesOf(options, environment.workingDirectory),
    nodeName: parseNodeName(options.nodeName ?? join?.nodeName, environment.hostName),
    dryRun: options.dryRun === true || join?.dryRun === true,
    format: options.format,
  };
  const discovery = discoveryOf(options, join, environment.workingDirectory);
  const { token, warnings } = await readToken(options, join, context);
  const all = [...warnings, ...(join?.notes ?? [])];
  return {
    ...common,
    discovery: withToken(discovery, token, options),
    warnings: all,
    [Symbol.dispose]: () => token?.[Symbol.dispose](),
  };
}

/** A file may contain the credential; endpoints need a token. @throws AgentError USAGE */
function withToken(
  { kind, request }: Discovery,
  token: BootstrapToken | undefined,
  options: DiscoverOptions,
): DiscoverInput['discovery'] {
  if (kind === 'file') return { kind, request: { ...request, ...(token && { token }) } };
  if (token === undefined) throw noToken(options);
  return { kind, request: { ...request, token } };
}

/** @throws AgentError USAGE */
async function readJoin(
  line: string | undefined,
  { stderr }: InputContext,
): Promise<JoinCommand | undefined> {
  if (line === undefined) return undefined;
  if (line !== '-' && !/\s/.test(line.trim())) {
    throw usageError(
      '--join takes the whole kubeadm join line, in quotes',
      "Quote the line: --join 'kubeadm join …'; or read it from a file: --join - < FILE",
    );
  }
  const bytes =
    line === '-' ? (await readInput('--join', stderr)).bytes : new TextEncoder().encode(line);
  try {
    return parseJoinCommand(bytes);
  } finally {
    bytes.fill(0);
  }
}

interface ReadToken {
  readonly token: BootstrapToken | undefined;
  readonly warnings: readonly string[];
}

/** @throws AgentError USAGE, CONFIG_UNREADABLE */
async function readToken(
  { token, tokenFile, join: line }: DiscoverOptions,
  join: JoinCommand | undefined,
  { environment, stderr }: InputContext,
): Promise<ReadToken> {
  if (tokenFile === '-') return parsed(await readInput('--token-file', stderr), []);
  if (tokenFile !== undefined) {
    const path = pathOf(tokenFile, environment.workingDirectory);
    const input = await readTokenFile(path);
    const exposed = await exposedTokenFile(path);
    return parsed(input, exposed === undefined ? [] : [exposed]);
  }
  if (token !== undefined) {
    const bytes = new TextEncoder().encode(token);
    return parsed({ bytes, place: '--token' }, [visible('--token')]);
  }
  const ofLine = join?.token?.expose();
  if (ofLine === undefined) return { token: undefined, warnings: [] };
  const place = 'the line of --join';
  return parsed({ bytes: ofLine, place }, line === '-' ? [] : [visible('--join')]);
}

function visible(option: string): string {
  return `other users of this machine can see the token of ${option} with ps; pass it with --token-file FILE or with --join -`;
}

function parsed(input: SecretInput, warnings: readonly string[]): ReadToken {
  try {
    return { token: requireToken(input), warnings };
  } finally {
    input.bytes.fill(0);
  }
}

type WithoutToken<T> = Omit<T, 'token'>;

type Discovery =
  | { readonly kind: 'endpoints'; readonly request: WithoutToken<DiscoveryRequest> }
  | { readonly kind: 'file'; readonly request: WithoutToken<FileDiscoveryRequest> };

/** @throws AgentError USAGE */
function discoveryOf(
  options: DiscoverOptions,
  join: JoinCommand | undefined,
  workingDirectory: string,
): Discovery {
  const common = commonOf(options);
  const file = options.discoveryFile ?? join?.discoveryFile;
  if (file !== undefined) {
    const fault = fileFault(options);
    if (fault !== undefined) throw usageError(fault);
    const hash = options.discoveryFileHash;
    return {
      kind: 'file',
      request: {
        ...common,
        source: parseFileSource(file, workingDirectory),
        ...(hash !== undefined && { hash: parsePin('--discovery-file-hash', hash) }),
      },
    };
  }
  if (options.discoveryFileHash !== undefined) {
    throw usageError('--discovery-file-hash requires --discovery-file');
  }
  return { kind: 'endpoints', request: { ...common, ...endpointsOf(options, join) } };
}

function commonOf({
  timeout,
  server,
  proxy,
}: DiscoverOptions): Pick<DiscoveryRequest, 'timeoutMs' | 'server' | 'proxyUrl'> {
  if (timeout <= 0) throw usageError('--timeout must be longer than 0s');
  return {
    timeoutMs: timeout * second,
    ...(server !== undefined && { server: parseAddress('--server', server) }),
    ...(proxy !== undefined && { proxyUrl: parseProxyOption(proxy) }),
  };
}

/** @throws AgentError USAGE */
function endpointsOf(
  options: DiscoverOptions,
  join: JoinCommand | undefined,
): Pick<DiscoveryRequest, 'endpoints' | 'pins' | 'onlyPinned'> {
  const { endpoint, caCertHash } = options;
  const onlyPinned = options.onlyPinned === true;
  const [option, addresses] =
    join?.endpoint === undefined
      ? ['--endpoint', endpoint ?? []]
      : ['the address in the line of --join', [join.endpoint]];
  if (addresses.length === 0) {
    throw usageError(
      '--endpoint is missing',
      "Add --endpoint HOST:PORT, or pass the line that kubeadm prints: --join 'kubeadm join …'",
    );
  }
  const endpoints = addresses.map((text) => parseAddress(option, text));
  // During a CA rollover, the line may have the hash of only one CA.
  const pins = [
    ...(join?.caCertHashes ?? []).map((text) => parsePin('the hash in the line of --join', text)),
    ...(caCertHash ?? []).map((text) => parsePin('--ca-cert-hash', text)),
  ];
  const skips = options.unsafeSkipCaVerification === true || join?.skipsCaVerification === true;
  if (pins.length === 0 && !skips) throw noPin(join !== undefined);
  if (pins.length === 0 && onlyPinned) throw usageError('--only-pinned requires --ca-cert-hash');
  return { endpoints, pins, onlyPinned };
}

function noPin(isFromLine: boolean): Error {
  return usageError(
    `${isFromLine ? 'the line of --join has no --discovery-token-ca-cert-hash' : '--ca-cert-hash is missing'}: without the hash of the CA key, any machine that knows the token can pose as the cluster`,
    isFromLine
      ? 'Copy the whole line that this command prints on a control-plane node: kubeadm token create --print-join-command'
      : `Add --ca-cert-hash sha256:HEX; this command prints the digits on a control-plane node: ${caPinCommand}`,
  );
}

function noToken({ join }: DiscoverOptions): Error {
  return usageError(
    join === undefined ? '--token-file is missing' : 'the line of --join has no token',
    'Create a token on a control-plane node, and add --token-file FILE: kubeadm token create',
  );
}

/** @throws AgentError USAGE */
function filesOf(
  { output, caFile, force: isForced }: DiscoverOptions,
  workingDirectory: string,
): BootstrapFiles {
  const force = isForced === true;
  const kubeconfig = pathOf(output, workingDirectory);
  if (caFile === undefined) return { kubeconfig, force };
  const file = pathOf(caFile, workingDirectory);
  if (file === kubeconfig) throw usageError('--output and --ca-file name the same file');
  return { kubeconfig, caFile: file, force };
}
