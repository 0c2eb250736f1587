import type { TrustConfig } from '../../src/core/config.ts';

/** `trust:` with `enabled: true` alone; test/config/trust.test.ts compares it with the schema. */
export const trustDefaults: TrustConfig = {
  pins: [],
  kubeconfigs: [],
  files: [],
  externalize: false,
  kubelet: 'restart',
  spreadSeconds: 600,
  reissueSpreadSeconds: 3_600,
  holdServing: false,
  drop: 'manual',
  dropAfterSeconds: 86_400,
  hooks: [],
};
