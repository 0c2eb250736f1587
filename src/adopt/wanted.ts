import { join, normalize } from 'node:path';
import type { CertificateSpec } from '../core/certificate-spec.ts';
import type { AgentConfig } from '../core/config.ts';
import type { KubeletSettings } from '../kubelet/configuration.ts';
import { currentLink } from '../store/pair-names.ts';
import type { KubeletFlagName } from '../kubelet/flags.ts';
import { switchValue } from '../kubelet/flags.ts';

export type SettingKey = keyof KubeletSettings;

/** The flag that overrides each setting. */
export const settingFlags = {
  rotateCertificates: 'rotate-certificates',
  serverTLSBootstrap: 'rotate-server-certificates',
  tlsCertFile: 'tls-cert-file',
  tlsPrivateKeyFile: 'tls-private-key-file',
} as const satisfies Readonly<Record<SettingKey, KubeletFlagName>>;

/** What a flag says, in the form of the setting; undefined for a switch that no kubelet starts with. */
export function flagValue(key: SettingKey, text: string): boolean | string | undefined {
  return key === 'rotateCertificates' || key === 'serverTLSBootstrap'
    ? switchValue(text)
    : normalize(text);
}

/** A certificate that the agent keeps for the kubelet. */
export interface KeptPair {
  readonly spec: CertificateSpec;
  /** Its `-current.pem`, which the kubelet has to name. */
  readonly link: string;
}

/** What has to hold for a kubelet whose certificates are the agent's. */
export interface Wanted {
  readonly client?: KeptPair;
  readonly serving?: KeptPair;
  readonly settings: ReadonlyMap<SettingKey, boolean | string>;
}

/** Of a certificate that is not kept, the kubelet goes on looking after it itself. */
export function wantedOf({ certificates, certificateDirectory }: AgentConfig): Wanted {
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
