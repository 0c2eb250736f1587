import { withoutTokens } from '../core/bootstrap-token.ts';
import { AgentError } from '../core/errors.ts';
import { Secret } from '../core/secret.ts';
import { booleans, notesOn, ofControlPlane, ofKubeadm, skipFlag } from './join-flags.ts';
import { splitWords } from './shell-words.ts';

/** The parts of a `kubeadm join` line that discovery uses. Disposal wipes the token. */
export interface JoinCommand extends Disposable {
  readonly endpoint?: string;
  /** Not yet checked. Absent if kubeadm has printed the line without it. */
  readonly token?: Secret;
  readonly caCertHashes: readonly string[];
  readonly skipsCaVerification: boolean;
  /** A path or an https:// URL. */
  readonly discoveryFile?: string;
  readonly nodeName?: string;
  readonly dryRun: boolean;
  /** What the line says and discovery ignores, one sentence each. */
  readonly notes: readonly string[];
}

/**
 * Parses the line that `kubeadm init` and `kubeadm token create --print-join-command` print, with
 * its line breaks, quotes and `sudo`. Flags have the meaning of kubeadm (cmd/kubeadm/app/cmd/join.go,
 * v1.37). Works on bytes, because a token in a string cannot be wiped.
 * @throws AgentError USAGE, which never shows a token
 */
export function parseJoinCommand(line: Uint8Array): JoinCommand {
  using split = splitWords(line);
  const found = new FoundFlags(argumentsOf(split.words));
  const { endpoint, file, nodeName, hashes } = found;
  if (endpoint === undefined && file === undefined) {
    throw refusal('has neither HOST:PORT nor --discovery-file');
  }
  if (endpoint !== undefined && file !== undefined) {
    throw refusal('has HOST:PORT and --discovery-file, which exclude each other');
  }
  const token = found.token();
  return {
    ...(endpoint !== undefined && { endpoint }),
    ...(token !== undefined && { token }),
    caCertHashes: hashes,
    skipsCaVerification: found.isSet(skipFlag),
    ...(file !== undefined && { discoveryFile: file }),
    ...(nodeName !== undefined && { nodeName }),
    dryRun: found.isSet('dry-run'),
    notes: found.notes(),
    [Symbol.dispose]: () => token?.wipe(),
  };
}

const tokenFlags = ['token', 'discovery-token', 'tls-bootstrap-token'] as const;
type TokenFlag = (typeof tokenFlags)[number];

/** Flags of the line, and its operand. */
class FoundFlags {
  endpoint: string | undefined;
  file: string | undefined;
  nodeName: string | undefined;
  readonly hashes: string[] = [];
  readonly #tokens = new Map<TokenFlag, Uint8Array<ArrayBuffer> | 'withheld'>();
  readonly #set = new Set<string>();
  readonly #ignored = new Set<string>();
  readonly #words: readonly Uint8Array<ArrayBuffer>[];
  #at = 0;

  /** @throws AgentError USAGE */
  constructor(words: readonly Uint8Array<ArrayBuffer>[]) {
    this.#words = words;
    for (let word = this.#next(); word !== undefined; word = this.#next()) this.#read(word);
  }

  isSet(name: string): boolean {
    return this.#set.has(name);
  }

  /**
   * The token for discovery and bootstrap: `--token` stands for each of the two others. kubeadm
   * allows two tokens, and nodecertd uses one.
   * @throws AgentError USAGE
   */
  token(): Secret | undefined {
    const of = (name: TokenFlag) => this.#tokens.get(name) ?? this.#tokens.get('token');
    const bootstrap = of('tls-bootstrap-token');
    if (this.file !== undefined) return secret(bootstrap);
    const discovery = of('discovery-token');
    if (discovery === undefined && bootstrap === undefined) throw refusal('has no --token');
    if (discovery === undefined) throw refusal('has no --discovery-token and no --token');
    if (bootstrap === undefined) throw refusal('has no --tls-bootstrap-token and no --token');
    if (!isSameToken(discovery, bootstrap)) {
      throw new AgentError(
        'USAGE',
        'the line of --join has different tokens for discovery and bootstrap, and nodecertd uses one token for both',
        {
          remedy:
            'Create a token with both usages, which is the default: kubeadm token create --print-join-command',
        },
      );
    }
    return secret(bootstrap);
  }

  notes(): string[] {
    const isVoid = this.hashes.length > 0 && this.isSet(skipFlag);
    return [
      ...notesOn([...this.#ignored]),
      ...(isVoid
        ? [`--join: --${skipFlag} has no effect, as in kubeadm: the line has a hash of the CA key`]
        : []),
    ];
  }

  #next(): Uint8Array<ArrayBuffer> | undefined {
    const word = this.#words[this.#at];
    this.#at += 1;
    return word;
  }

  #read(word: Uint8Array<ArrayBuffer>): void {
    if (word[0] !== dash || word.length === 1) return this.#readOperand(word);
    const { name, value } = splitFlag(word);
    if (isTokenFlag(name)) return this.#readToken(name, value ?? this.#valueOf(name));
    if (booleans.has(name)) return this.#readBoolean(name, value);
    if (name === 'config') {
      throw new AgentError(
        'USAGE',
        'the line of --join has --config: nodecertd does not read the configuration file of kubeadm',
        {
          remedy:
            'Pass what that file says: --endpoint HOST:PORT --token-file FILE --ca-cert-hash sha256:HEX',
        },
      );
    }
    return this.#readText(name, value);
  }

  #readOperand(word: Uint8Array): void {
    const text = decode(word);
    if (/^[\u2010-\u2015\u2212]/.test(text)) {
      throw refusal(`has a long dash where -- belongs: ${shown(text)}`);
    }
    if (this.endpoint !== undefined) {
      throw refusal(
        `has ${shown(text)} after ${shown(this.endpoint)}, and kubeadm takes one address`,
      );
    }
    this.endpoint = text;
  }

  #readToken(name: TokenFlag, value: Uint8Array<ArrayBuffer>): void {
    // `--skip-token-print` of kubeadm. The administrator may have quoted it for a shell.
    const text = decode(value);
    const isSplit = text === '<value' && this.#peek() === 'withheld>';
    if (isSplit) this.#next();
    const isWithheld = isSplit || text === '<value withheld>';
    this.#tokens.set(name, isWithheld ? 'withheld' : value);
  }

  #readBoolean(name: string, value: Uint8Array | undefined): void {
    const text = value === undefined ? 'true' : decode(value);
    // strconv.ParseBool, which pflag uses.
    const isTrue = ['1', 't', 'T', 'true', 'TRUE', 'True'].includes(text);
    if (!isTrue && !['0', 'f', 'F', 'false', 'FALSE', 'False'].includes(text)) {
      throw refusal(`has --${name}=${shown(text)}, which must be true or false`);
    }
    if (isTrue) this.#set.add(name);
    else this.#set.delete(name);
    if (ofControlPlane.has(name) || name === 'help') this.#ignored.add(name);
  }

  #readText(name: string, inline: Uint8Array | undefined): void {
    const text = (): string => decode(inline ?? this.#valueOf(name));
    switch (name) {
      case 'discovery-token-ca-cert-hash':
        // A list in pflag: repeated, or with commas.
        this.hashes.push(...text().split(',').filter(Boolean));
        return;
      case 'discovery-file':
        this.file = text();
        return;
      case 'node-name':
        this.nodeName = text();
        return;
      default:
        this.#ignored.add(withoutTokens(name, 60));
        if (inline === undefined && this.#ownsNextWord(name)) this.#next();
    }
  }

  /** Whether the next word is the value of this flag, and not an operand. */
  #ownsNextWord(name: string): boolean {
    const next = this.#words[this.#at];
    if (next === undefined || next[0] === dash) return false;
    const isKnown = ofControlPlane.has(name) || ofKubeadm.has(name);
    return isKnown || this.endpoint !== undefined || !decode(next).includes(':');
  }

  #peek(): string | undefined {
    const next = this.#words[this.#at];
    return next && decode(next);
  }

  #valueOf(name: string): Uint8Array<ArrayBuffer> {
    const value = this.#next();
    if (value === undefined) throw refusal(`ends after --${name}, which needs a value`);
    return value;
  }
}

/** The words after `kubeadm join`. @throws AgentError USAGE */
function argumentsOf(words: readonly Uint8Array<ArrayBuffer>[]): Uint8Array<ArrayBuffer>[] {
  const start = words.findIndex((word) => !isPrefix(word));
  const [program, command] = [words[start], words[start + 1]];
  const isKubeadm = program !== undefined && /(?:^|\/)kubeadm$/.test(decode(program));
  if (isKubeadm && command !== undefined && decode(command) === 'join') {
    return words.slice(start + 2);
  }
  const text = words.slice(Math.max(start, 0), start + 2).map((word) => shown(decode(word)));
  const found = start === -1 || text.length === 0 ? 'is empty' : `begins with ${text.join(' ')}`;
  throw new AgentError('USAGE', `the line of --join ${found}, expected kubeadm join`, {
    remedy: 'Create the line on a control-plane node: kubeadm token create --print-join-command',
  });
}

/** A prompt, and `sudo` with flags that take no value. */
function isPrefix(word: Uint8Array): boolean {
  const text = decode(word);
  return ['$', '#', 'sudo'].includes(text) || /^-[EHniS]+$/.test(text);
}

interface Flag {
  readonly name: string;
  readonly value?: Uint8Array<ArrayBuffer>;
}

/** `--name=value`, `--name`, `-v=5` and `-v5`. */
function splitFlag(word: Uint8Array<ArrayBuffer>): Flag {
  const isLong = word[1] === dash;
  const start = isLong ? 2 : 1;
  const equals = word.indexOf(equalsSign);
  if (equals !== -1) {
    return { name: decode(word.subarray(start, equals)), value: word.subarray(equals + 1) };
  }
  if (isLong || word.length === 2) return { name: decode(word.subarray(start)) };
  return { name: decode(word.subarray(1, 2)), value: word.subarray(2) };
}

function isTokenFlag(name: string): name is TokenFlag {
  return tokenFlags.some((flag) => flag === name);
}

function secret(token: Uint8Array<ArrayBuffer> | 'withheld' | undefined): Secret | undefined {
  return token === undefined || token === 'withheld' ? undefined : new Secret(token.slice());
}

function isSameToken(a: Uint8Array | 'withheld', b: Uint8Array | 'withheld'): boolean {
  if (a === 'withheld' || b === 'withheld') return a === b;
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}

function decode(word: Uint8Array): string {
  return new TextDecoder().decode(word);
}

function shown(text: string): string {
  return JSON.stringify(withoutTokens(text, 80));
}

function refusal(what: string): AgentError {
  return new AgentError('USAGE', `the line of --join ${what}`, {
    remedy:
      'Copy the whole line that this command prints on a control-plane node: kubeadm token create --print-join-command',
  });
}

const dash = 0x2d;
const equalsSign = 0x3d;
