import type { CertificateSpec } from '../core/certificate-spec.ts';
import type { Failure } from '../core/errors.ts';
import type { DoctorFinding } from '../core/findings.ts';
import { notChecked } from './check.ts';
import type { KubeletFacts, KubeletSetting } from '../kubelet/configuration.ts';

export interface KubeletContext {
  readonly certificates: readonly CertificateSpec[];
  /** Those that the agent only watches, because the kubelet rotates them where it would write. */
  readonly observed: ReadonlySet<string>;
  /** The `-current.pem` of a certificate. */
  readonly linkOf: (name: string) => string;
}

/** The kubelet's files are changed as one, or not at all: half of it would be a node without a certificate. */
export const adoptRemedy =
  'nodecertd adopt, which shows what has to change; nodecertd adopt --yes --restart changes it';

/** Whether the kubelet of this node rotates what we rotate, and uses what we keep. */
export function kubeletFindings(facts: KubeletFacts, context: KubeletContext): DoctorFinding[] {
  const client = context.certificates.find(({ profile }) => profile === 'kubelet-client');
  const serving = context.certificates.find(({ profile }) => profile === 'kubelet-serving');
  if (!facts.found) {
    return [
      {
        id: 'kubelet-config',
        severity: 'info',
        what: `there is no kubelet configuration ${facts.file}; whether a kubelet rotates the same certificates is not known`,
        remedy: 'Name the file that the kubelet is started with: --kubelet-config FILE',
      },
    ];
  }
  const { rotateCertificates, serverTLSBootstrap } = facts;
  const { observed } = context;
  const findings = [
    ...(rotateCertificates?.value === true && client !== undefined
      ? [rotator(isTrue('rotateCertificates', rotateCertificates), client, observed)]
      : []),
    ...(serverTLSBootstrap?.value === true && serving !== undefined
      ? [rotator(isTrue('serverTLSBootstrap', serverTLSBootstrap), serving, observed)]
      : []),
    ...(serving === undefined || serverTLSBootstrap?.value === true
      ? []
      : servedFindings(facts, context.linkOf(serving.name))),
  ];
  if (findings.length > 0) return findings;
  const what = `the kubelet of ${facts.file} leaves the certificates to the agent`;
  return [{ id: 'kubelet-config', severity: 'ok', what }];
}

function isTrue(key: string, { file, flag }: KubeletSetting<boolean>): string {
  return `${flag === undefined ? key : `--${flag}`} is true in ${file}`;
}

/** What is said of a configuration that could not be read; a broken one is a finding of its own. */
export function unreadKubeletFindings(failure: Failure): DoctorFinding[] {
  if (failure.code !== 'CONFIG_INVALID') return [notChecked('the kubelet', failure)];
  const { message, remedy } = failure;
  return [
    {
      id: 'kubelet-config-invalid',
      severity: 'warning',
      what: message,
      why: 'Whether the kubelet rotates the same certificates is not known, and it does not start with this',
      ...(remedy !== undefined && { remedy }),
    },
  ];
}

/** k/k #46730: two rotators replace each other's pairs, unless one of them stands back. */
function rotator(
  reason: string,
  { name }: CertificateSpec,
  observed: ReadonlySet<string>,
): DoctorFinding {
  if (observed.has(name)) {
    return {
      id: 'kubelet-rotates',
      severity: 'info',
      subject: name,
      what: `the kubelet rotates ${name} itself, and the agent only watches it: ${reason}`,
      remedy: `Nothing; to have the agent rotate it: ${adoptRemedy}`,
    };
  }
  return {
    id: 'second-rotator',
    severity: 'warning',
    subject: name,
    what: `the kubelet rotates ${name} as well: ${reason}`,
    why: 'Each asks for certificates of its own: twice the requests, and nobody knows whose is in use',
    remedy: adoptRemedy,
  };
}

function servedFindings(facts: KubeletFacts, link: string): DoctorFinding[] {
  const { tlsCertFile, tlsPrivateKeyFile } = facts;
  if (tlsCertFile?.value === link && tlsPrivateKeyFile?.value === link) return [];
  const found = tlsCertFile?.value
    ? `the kubelet serves ${tlsCertFile.value} with ${tlsPrivateKeyFile?.value ?? 'no key'}`
    : 'the kubelet serves a certificate that it signed itself (tlsCertFile is not set)';
  return [
    {
      id: 'kubelet-serves-other-pair',
      severity: 'warning',
      what: `${found}, not ${link}`,
      why: 'The serving certificate that the agent keeps is used by nobody',
      remedy: adoptRemedy,
    },
  ];
}
