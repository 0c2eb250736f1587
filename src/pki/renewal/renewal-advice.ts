import { formatInstant, day } from '../../core/instant.ts';
import type { RenewalItem } from './renewal-item.ts';
import { issuerOf, subjectOf } from './certificate-chain.ts';

/** Something that an administrator has to know or to do. */
export interface Advice {
  readonly what: string;
  readonly remedy?: string;
}

/** Apple's limit for server certificates, which other browsers have adopted. */
const longestServing = 398 * day;
const longestClient = 3650 * day;

/** What is unusual about a planned certificate. */
export function adviceFor(item: RenewalItem): Advice[] {
  const { entry, validity, leaf, omitted, authorityPath, target } = item;
  const { name } = entry;
  const advice: Advice[] = [];
  if (validity.wanted !== undefined) {
    advice.push({
      what: `${name} will expire with its CA at ${formatInstant(validity.notAfter)}, not at ${formatInstant(validity.wanted)}`,
      remedy: `Plan the replacement of the CA ${authorityPath}`,
    });
  }
  if (endsEarlier(item)) {
    advice.push({
      what: `${name} will expire at ${formatInstant(validity.notAfter)}, before the existing certificate (${formatInstant(leaf.facts.notAfter)})`,
      remedy: 'Have the CA issue it with a longer lifetime, if you need one',
    });
  }
  const lifetime = validity.notAfter - validity.notBefore;
  const isServing = leaf.facts.usages.includes('server auth');
  if (lifetime > (isServing ? longestServing + day : longestClient + day)) {
    const limit = isServing ? '398 days, and browsers reject it' : '10 years';
    advice.push({ what: `${name} will be valid for more than ${limit}` });
  }
  for (const other of omitted) {
    advice.push({
      what: `${name}: the renewal omits the certificate of ${subjectOf(other)}, which has expired or does not belong to the chain`,
    });
  }
  if (target.kind === 'kubeconfig' && target.authority !== undefined) {
    advice.push({
      what: `${name}: the kubeconfig lacks a CA of ${authorityPath}, which the renewal adds`,
    });
  }
  return advice;
}

/** Why the CA of a certificate cannot issue its successor here. */
export function externalAdvice({ entry: { name }, leaf, authorityPath }: RenewalItem): Advice {
  return {
    what: `${name}: the key of the CA ${issuerOf(leaf)} is not beside ${authorityPath}`,
    remedy: `Create a CSR for the owner of the CA: nodecertd certs renew ${name} --csr-out DIR`,
  };
}

/** A certificate of an external CA, whose lifetime nodecertd did not choose. */
export function endsEarlier({ issued, validity, leaf }: RenewalItem): boolean {
  return issued !== undefined && validity.notAfter < leaf.facts.notAfter;
}

/** A restart that an administrator has to do. */
export interface RestartAdvice {
  readonly component: string;
  readonly why: string;
  readonly remedy: string;
}

/**
 * The programs that use the new certificate only after a restart: client-go reads an embedded
 * certificate when the program starts (transport/transport.go), and a named file within five
 * minutes.
 */
export function restartFor({ entry, target }: RenewalItem): RestartAdvice | undefined {
  const [usage] = entry.usedBy.filter(({ reload }) => reload === 'restart');
  if (usage === undefined || target.kind === 'pair') return undefined;
  const { component } = usage;
  return {
    component,
    why: `${component} reads the certificate embedded in ${target.kubeconfig.path} only when it starts`,
    remedy: restartRemedy(component),
  };
}

/** The restart by hand. */
export function restartRemedy(component: string): string {
  return `Restart ${component}, and wait until it is ready: crictl stop "$(crictl ps --quiet --name ${component})"`;
}
