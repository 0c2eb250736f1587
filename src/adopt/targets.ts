import { join } from 'node:path';
import type { CertificateSpec } from '../core/certificate-spec.ts';
import type { AgentConfig } from '../core/config.ts';
import type { SettingKey } from '../kubelet/flags.ts';
import { currentLink } from '../core/certificate-spec.ts';

/** A certificate that nodecertd keeps for the kubelet. */
export interface KeptPair {
  readonly spec: CertificateSpec;
  /** Its `-current.pem`, which the kubelet has to use. */
  readonly link: string;
}

/** The target state: a kubelet whose certificates nodecertd keeps. */
export interface Targets {
  readonly client?: KeptPair;
  readonly serving?: KeptPair;
  readonly settings: ReadonlyMap<SettingKey, boolean | string>;
}

/** Leaves a certificate that nodecertd does not keep to the kubelet. */
export function targetsOf({ certificates, certificateDirectory }: AgentConfig): Targets {
  const kept = (profile: CertificateSpec['profile']): KeptPair | undefined => {
    const spec = certificates.find((candidate) => candidate.profile === profile);
    return spec && { spec, link: join(certificateDirectory, currentLink(spec.name)) };
  };
  const client = kept('kubelet-client');
  const serving = kept('kubelet-serving');
  const settings = new Map<SettingKey, boolean | string>();
  if (client !== undefined) settings.set('rotateCertificates', false);
  if (serving !== undefined) {
    settings.set('serverTLSBootstrap', false);
    settings.set('tlsCertFile', serving.link);
    settings.set('tlsPrivateKeyFile', serving.link);
  }
  return { ...(client && { client }), ...(serving && { serving }), settings };
}
