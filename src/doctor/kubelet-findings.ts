import type { CertificateSpec } from '../core/certificate-spec.ts';
import type { Failure } from '../core/errors.ts';
import type { DoctorFinding } from '../core/findings.ts';
import { failureFinding, notChecked } from './check.ts';
import type { KubeletFacts, KubeletSetting } from '../kubelet/configuration.ts';

export interface KubeletContext {
  readonly certificates: readonly CertificateSpec[];
  /** Certificates that the agent only observes, because the kubelet rotates them in the same directory. */
  readonly observed: ReadonlySet<string>;
  /** The `-current.pem` link of a certificate. */
  readonly linkOf: (name: string) => string;
}

/** The whole adoption, never a part of it: some of its changes alone can leave the node without a certificate. */
export const adoptRemedy =
  'Show the required changes with: nodecertd adopt; make them with: nodecertd adopt --yes --restart';

/** Whether the kubelet rotates the same certificates, and whether it uses the agent's. */
export function kubeletFindings(facts: KubeletFacts, context: KubeletContext): DoctorFinding[] {
  const client = context.certificates.find(({ profile }) => profile === 'kubelet-client');
  const serving = context.certificates.find(({ profile }) => profile === 'kubelet-serving');
  if (!facts.found) {
    return [
      {
        id: 'kubelet-config',
        severity: 'info',
        what: `the kubelet configuration ${facts.file} does not exist, so it is unknown whether a kubelet rotates the same certificates`,
        remedy: 'Name the configuration file of the kubelet with: --kubelet-config FILE',
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
  const what = `the kubelet with the configuration ${facts.file} uses the agent's certificates`;
  return [{ id: 'kubelet-config', severity: 'ok', what }];
}

function isTrue(key: string, { file, flag }: KubeletSetting<boolean>): string {
  return `${flag === undefined ? key : `--${flag}`} is true in ${file}`;
}

/** An invalid configuration has its own finding; other failures are a failed check. */
export function unreadKubeletFindings(failure: Failure): DoctorFinding[] {
  if (failure.code !== 'CONFIG_INVALID') return [notChecked('the kubelet', failure)];
  const why =
    'The kubelet does not start with this file, and it is unknown whether it rotates the same certificates';
  return [failureFinding(failure, { id: 'kubelet-config-invalid', severity: 'warning', why })];
}

/** k/k #46730: two rotators replace each other's certificates unless one defers to the other. */
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
      what: `the kubelet rotates ${name}, so the agent only observes it: ${reason}`,
      remedy: `Do nothing, or let the agent rotate the certificate. ${adoptRemedy}`,
    };
  }
  return {
    id: 'second-rotator',
    severity: 'warning',
    subject: name,
    what: `the kubelet rotates ${name} too: ${reason}`,
    why: 'The kubelet and the agent both request certificates, and it is unclear which certificate is in use',
    remedy: adoptRemedy,
  };
}

function servedFindings(facts: KubeletFacts, link: string): DoctorFinding[] {
  const { tlsCertFile, tlsPrivateKeyFile } = facts;
  if (tlsCertFile?.value === link && tlsPrivateKeyFile?.value === link) return [];
  const found = tlsCertFile?.value
    ? `the kubelet serves ${tlsCertFile.value} with ${tlsPrivateKeyFile?.value ?? 'no key'}`
    : 'the kubelet serves a self-signed certificate (tlsCertFile is not set)';
  return [
    {
      id: 'kubelet-serves-other-pair',
      severity: 'warning',
      what: `${found} instead of ${link}`,
      why: "The kubelet does not use the agent's serving certificate",
      remedy: adoptRemedy,
    },
  ];
}
