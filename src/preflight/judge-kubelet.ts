import type { CertificateSpec } from '../core/certificate-spec.ts';
import type { Failure } from '../core/errors.ts';
import type { PreflightFinding } from '../core/preflight.ts';
import { notChecked } from './gathered.ts';
import type { KubeletFacts, KubeletSetting } from './kubelet-config.ts';

export interface KubeletContext {
  readonly certificates: readonly CertificateSpec[];
  /** The `-current.pem` of a certificate. */
  readonly linkOf: (name: string) => string;
}

/** The kubelet's files are changed as one, or not at all: half of it would be a node without a certificate. */
export const handOver =
  'nodecertd adopt, which shows what has to change; nodecertd adopt --yes --restart changes it';

/** Whether the kubelet of this node rotates what we rotate, and uses what we keep. */
export function judgeKubelet(facts: KubeletFacts, context: KubeletContext): PreflightFinding[] {
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
  const findings = [
    ...(client === undefined ? [] : rotator('rotateCertificates', rotateCertificates, client)),
    ...(serving === undefined ? [] : rotator('serverTLSBootstrap', serverTLSBootstrap, serving)),
    ...(serving === undefined || serverTLSBootstrap?.value === true
      ? []
      : judgeServed(facts, context.linkOf(serving.name))),
  ];
  if (findings.length > 0) return findings;
  const what = `the kubelet of ${facts.file} leaves the certificates to the agent`;
  return [{ id: 'kubelet-config', severity: 'ok', what }];
}

/** What is said of a configuration that could not be read; a broken one is a finding of its own. */
export function judgeUnread(failure: Failure): PreflightFinding[] {
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

/** k/k #46730: two rotators replace each other's pairs. */
function rotator(
  key: 'rotateCertificates' | 'serverTLSBootstrap',
  setting: KubeletSetting<boolean> | undefined,
  { name }: CertificateSpec,
): PreflightFinding[] {
  if (setting?.value !== true) return [];
  return [
    {
      id: 'second-rotator',
      severity: 'warning',
      subject: name,
      what: `the kubelet rotates ${name} as well: ${key} is true in ${setting.file}`,
      why: "Both ask for certificates and replace each other's pairs: twice the requests, and nobody knows whose is in use",
      remedy: handOver,
    },
  ];
}

function judgeServed(facts: KubeletFacts, link: string): PreflightFinding[] {
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
      remedy: handOver,
    },
  ];
}
