import type { DiscoverOptions } from './discover-options.ts';
import { discoverFormats } from './discover-options.ts';

/** Why these options cannot be combined. */
export function combinationFault(options: DiscoverOptions): string | undefined {
  const { join, discoveryFile, token, tokenFile, output } = options;
  if (token !== undefined && tokenFile !== undefined) {
    return '--token and --token-file exclude each other';
  }
  if (join === '-' && tokenFile === '-') {
    return '--join and --token-file cannot both read standard input';
  }
  const byLine = firstOf(options, ['endpoint', 'token', 'discoveryFile', 'unsafe']);
  if (join !== undefined && byLine !== undefined) return `--join and ${byLine} exclude each other`;
  const byFile = discoveryFile === undefined ? undefined : fileFault(options);
  if (byFile !== undefined) return byFile;
  if (options.discoveryFileHash !== undefined && discoveryFile === undefined && !join) {
    return '--discovery-file-hash requires --discovery-file';
  }
  if (options.unsafeSkipCaVerification === true && options.caCertHash !== undefined) {
    return '--ca-cert-hash and --unsafe-skip-ca-verification exclude each other';
  }
  if (options.onlyPinned === true && options.unsafeSkipCaVerification === true) {
    return '--only-pinned requires --ca-cert-hash';
  }
  const isFormat = discoverFormats.some((format) => format === output) || output === 'table';
  return isFormat ? `--output takes a file, not the format ${output}: use -o ${output}` : undefined;
}

/** Why these options cannot be combined with a discovery file, also one in the line of --join. */
export function fileFault(options: DiscoverOptions): string | undefined {
  const other = firstOf(options, ['endpoint', 'caCertHash', 'onlyPinned', 'unsafe']);
  return other && `--discovery-file and ${other} exclude each other`;
}

type Exclusive = 'endpoint' | 'token' | 'caCertHash' | 'discoveryFile' | 'onlyPinned' | 'unsafe';

/** The first of these options that the command line has. */
function firstOf(options: DiscoverOptions, keys: readonly Exclusive[]): string | undefined {
  const given: Readonly<Record<Exclusive, readonly [string, unknown]>> = {
    endpoint: ['--endpoint', options.endpoint],
    token: ['--token', options.token],
    caCertHash: ['--ca-cert-hash', options.caCertHash],
    discoveryFile: ['--discovery-file', options.discoveryFile],
    onlyPinned: ['--only-pinned', options.onlyPinned],
    unsafe: ['--unsafe-skip-ca-verification', options.unsafeSkipCaVerification],
  };
  return keys.map((key) => given[key]).find(([, value]) => value !== undefined)?.[0];
}
