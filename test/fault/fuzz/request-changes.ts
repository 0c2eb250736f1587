import { extensionIds, writeOid } from '../../../src/core/certificate-parts.ts';
import { writeDer } from '../../../src/core/der.ts';
import type { RequestParts } from '../../approver/requests.ts';
import {
  attribute,
  dns,
  extension,
  ip,
  nodeSubject,
  oids,
  sequence,
  subjectAltName,
} from '../../approver/requests.ts';
import type { Change, Verdict } from './csr-change.ts';

/** The node of the CSR, and one name and one IPv4 address that it has. */
export interface Owner {
  readonly node: string;
  readonly address: string;
}

/** Changes of the signed contents: subject, SANs, extensions, attributes, version. */
export function contentChanges(owner: Owner): readonly Change[] {
  return [...subjectChanges(owner), ...altNameChanges(owner), ...extensionChanges(owner)];
}

const valid: readonly Verdict[] = [];

type Names = RequestParts['subject'] & object;

function subject(name: string, verdicts: readonly Verdict[], names: Names): Change {
  return { part: 'subject', name, verdicts, request: () => ({ subject: names }) };
}

function subjectChanges({ node }: Owner): readonly Change[] {
  const user = `system:node:${node}`;
  const [group = [], name = []] = nodeSubject(user);
  const foreign = (title: string, names: Names): Change =>
    subject(title, ['SubjectMismatch'], names);
  const named = (value: string, tag?: number) => [
    group,
    [{ oid: oids.commonName, value, ...(tag !== undefined && { tag }) }],
  ];
  return [
    subject('CN before O', valid, [name, group]),
    subject('UTF8String', valid, named(user, 0x0c)),
    subject('one relative name', valid, [[...group, ...name]]),
    subject('one relative name, not sorted', ['RequestMalformed'], [[...name, ...group]]),
    subject('an empty relative name', ['RequestMalformed'], [group, name, []]),
    foreign('no subject', []),
    foreign('no O', [name]),
    foreign('no CN', [group]),
    foreign('O twice', [group, group, name]),
    foreign('CN twice', [group, name, name]),
    foreign('O=system:masters too', [
      ...nodeSubject(user),
      [{ oid: oids.organization, value: 'system:masters' }],
    ]),
    foreign('an OU', [...nodeSubject(user), [{ oid: oids.unit, value: 'x' }]]),
    foreign('a serialNumber', [...nodeSubject(user), [{ oid: '2.5.4.5', value: '1' }]]),
    foreign('an e-mail address', [
      ...nodeSubject(user),
      [{ oid: '1.2.840.113549.1.9.1', value: 'a@b', tag: 0x16 }],
    ]),
    ...[0x04, 0x12, 0x14, 0x16, 0x1e].map((tag) =>
      foreign(`a CN with tag ${tag}`, named(user, tag)),
    ),
    ...[
      `${user}.`,
      `${user} `,
      ` ${user}`,
      `${user}\0`,
      user.toUpperCase(),
      `${user}0`,
      user.slice(0, -1),
      'system:node:',
      'system:node:other',
      '',
      'admin',
      user.replace('n', '\u{ff4e}'),
      `${user}\n`,
    ].map((text) => foreign(`CN ${JSON.stringify(text)}`, named(text, 0x0c))),
  ];
}

function altNames(name: string, verdicts: readonly Verdict[], ...list: Uint8Array[]): Change {
  return inPlaceOfSans(name, verdicts, { altNames: list });
}

function inPlaceOfSans(name: string, verdicts: readonly Verdict[], parts: RequestParts): Change {
  return { part: 'SANs', name, verdicts, request: () => parts };
}

const unnamed: readonly Verdict[] = ['AltNamesNotAllowed'];

function altNameChanges({ node, address }: Owner): readonly Change[] {
  const good = [dns(node), ip(address)];
  const beside = (name: string, verdicts: readonly Verdict[], altName: Uint8Array): Change =>
    altNames(name, verdicts, ...good, altName);
  const mapped = Uint8Array.of(...Array(10).fill(0), 255, 255, ...address.split('.').map(Number));
  return [
    altNames('only the name', valid, dns(node)),
    altNames('only the address', valid, ip(address)),
    altNames('address first', valid, ...good.toReversed()),
    altNames('the same SANs 32 times', valid, ...Array.from({ length: 32 }, () => good).flat()),
    altNames('the same SANs 33 times', unnamed, ...Array.from({ length: 33 }, () => good).flat()),
    altNames('upper case', valid, dns(node.toUpperCase())),
    altNames('a trailing dot', valid, dns(`${node}.`)),
    altNames('an IPv4-mapped address', valid, ip(mapped)),
    altNames('no SAN', unnamed),
    ...[`${node}0`, `${node}.evil.example`, node.slice(0, -1), 'other', 'xn--n1-x'].map((name) =>
      beside(`the name ${name}`, ['SANNotOwned'], dns(name)),
    ),
    ...['kubernetes.default.svc', 'LOCALHOST', 'a.b.svc.cluster.local.', 'kubernetes'].map((name) =>
      beside(`the name ${name}`, ['ProtectedName'], dns(name)),
    ),
    ...[`*.${node}`, '*', '', '.', 'a..b', `${node}\0`, `${node} `, `${node}\n`, '_', 'é'].map(
      (name) => beside(`the name ${JSON.stringify(name)}`, unnamed, dns(name)),
    ),
    ...[address, '10.1', '0x7f.1', `${address}.`].map((name) =>
      beside(`the name ${name}`, ['AltNamesNotAllowed', 'SANNotOwned'], dns(name)),
    ),
    ...['10.199.0.1', '8.8.8.8', '2001:db8::1', '::a64:2'].map((text) =>
      beside(`the address ${text}`, ['SANNotOwned'], ip(text)),
    ),
    ...['127.0.0.1', '0.0.0.0', '::1', '169.254.0.1', 'fe80::1', 'ff02::1', '255.255.255.255'].map(
      (text) => beside(`the address ${text}`, unnamed, ip(text)),
    ),
    beside('the address of the kubernetes Service', ['ProtectedAddress'], ip('10.96.0.1')),
    ...[0, 1, 3, 5, 8, 15, 17, 32].map((length) =>
      beside(`an address of ${length} bytes`, unnamed, ip(new Uint8Array(length).fill(10))),
    ),
    beside('an e-mail address', unnamed, writeDer(0x81, Buffer.from('a@n1'))),
    beside('a URI', unnamed, writeDer(0x86, Buffer.from('spiffe://n1/x'))),
    beside('a directoryName', unnamed, writeDer(0xa4, sequence())),
    beside('a registeredID', unnamed, writeDer(0x88, Uint8Array.of(0x2a, 3))),
    beside('an otherName', unnamed, writeDer(0xa0, writeOid('1.2.3'), writeDer(0xa0))),
    beside('a constructed name', unnamed, writeDer(0xa2, writeDer(0x16, Buffer.from(node)))),
    beside('a plain string', unnamed, writeDer(0x16, Buffer.from(node))),
  ];
}

const malformed: readonly Verdict[] = ['RequestMalformed'];
const unexpected: readonly Verdict[] = ['UnexpectedExtension'];
const extensionRequest = '1.2.840.113549.1.9.14';
const yes = writeDer(0x01, Uint8Array.of(0xff));

/** Of the part SANs too, because they replace the extension with the SANs. */
function extensionChanges({ node }: Owner): readonly Change[] {
  const sans = subjectAltName([dns(node)]);
  const value = sequence(dns(node));
  const extensions = (name: string, verdicts: readonly Verdict[], ...list: Uint8Array[]): Change =>
    inPlaceOfSans(name, verdicts, { extensions: list });
  const san = extensionIds.subjectAltName;
  const others: readonly (readonly [string, Uint8Array])[] = [
    ['CA:TRUE', extension(extensionIds.basicConstraints, sequence(yes), yes)],
    ['keyCertSign', extension(extensionIds.keyUsage, writeDer(0x03, Uint8Array.of(2, 4)))],
    ['an unknown extension', extension('1.2.3.4', Uint8Array.of(5, 0), yes)],
    ['an empty extension', extension('2.5.29.99', new Uint8Array())],
    ['a second subjectAltName', sans],
    ['an issuerAltName', extension('2.5.29.18', value)],
  ];
  return [
    extensions('a critical subjectAltName', valid, extension(san, value, yes)),
    extensions('critical: FALSE', malformed, extension(san, value, writeDer(1, Uint8Array.of(0)))),
    extensions('critical: 1', malformed, extension(san, value, writeDer(1, Uint8Array.of(1)))),
    extensions('no extension', unexpected),
    ...others.flatMap(([name, other]) => [
      extensions(`${name} after the SANs`, unexpected, sans, other),
      extensions(`${name} before the SANs`, unexpected, other, sans),
    ]),
    extensions('data after the SANs', malformed, extension(san, Buffer.concat([value, yes]))),
    extensions('SANs in a SET', malformed, extension(san, writeDer(0x31, dns(node)))),
    inPlaceOfSans('no attribute', unexpected, { attributes: [] }),
    inPlaceOfSans('two extensionRequests', malformed, {
      attributes: [0, 1].map(() => attribute(extensionRequest, sequence(sans))),
    }),
    inPlaceOfSans('two values', malformed, {
      attributes: [attribute(extensionRequest, sequence(sans), sequence(sans))],
    }),
    inPlaceOfSans('no value', malformed, { attributes: [attribute(extensionRequest)] }),
    inPlaceOfSans('a challenge password', malformed, {
      attributes: [attribute('1.2.840.113549.1.9.7', writeDer(0x13, Buffer.from('x')))],
    }),
    ...[1, 2, 127, 128, 255].map((version): Change => ({
      part: 'version',
      name: `version ${version}`,
      verdicts: malformed,
      request: () => ({ version }),
    })),
  ];
}
