import { printable } from '../core/printable.ts';
import { shortPolicyDigest } from './policy-digest.ts';
import type { Question } from './checks/question.ts';

const maxMessageBytes = 1024;

/** One line of at most 1 KiB: the finding, the Node, the sources and the policy. */
export function conditionMessage(question: Question, finding: string): string {
  const { node, policy, facts } = question;
  const context = [
    ...(node === undefined ? [] : [`Node ${node.name} (uid ${node.uid})`]),
    `sources ${['node', ...facts.sources.map(({ name }) => name)].join(', ')}`,
    `policy ${shortPolicyDigest(policy)}`,
  ].join('; ');
  const end = `; ${printable(context, 500)}`;
  return cutToBytes(printable(finding, 2_000), maxMessageBytes - Buffer.byteLength(end)) + end;
}

/** Cuts at a character, not inside one. */
function cutToBytes(text: string, most: number): string {
  if (Buffer.byteLength(text) <= most) return text;
  let bytes = Buffer.byteLength('…');
  let cut = '';
  for (const character of text) {
    bytes += Buffer.byteLength(character);
    if (bytes > most) break;
    cut += character;
  }
  return `${cut}…`;
}
