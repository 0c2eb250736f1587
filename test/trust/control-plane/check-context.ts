import { createPrivateKey } from 'node:crypto';
import { findLocalKubelet } from '../../../src/kubelet/local-kubelet.ts';
import type { ComponentFlag } from '../../../src/pki/components/component.ts';
import type { Clock } from '../../../src/sys/clock.ts';
import { Tree } from '../../../src/sys/tree.ts';
import type { CheckContext } from '../../../src/trust/control-plane/check.ts';
import type { CaName } from '../../../src/trust/control-plane/task.ts';
import type { RolloverCa } from '../../../src/trust/control-plane/node-files.ts';
import { issueWithOpenssl, caExtensions, parsed } from '../../pki/renewal/openssl-authority.ts';
import type { OpensslPair } from '../../pki/renewal/openssl-authority.ts';
import { makeTestAuthority } from '../node/authority.ts';

const nextSubject = '/CN=kubernetes 2026-11';
export const old = makeTestAuthority({ subject: '/CN=kubernetes' });
export const next = makeTestAuthority({ subject: nextSubject });
/** The key of the new CA, certified by the old CA. */
export const bridge = issueWithOpenssl({
  subject: nextSubject,
  keyPem: next.key,
  extensions: caExtensions,
  signer: old,
}).certificate.toString();

export interface Ports {
  readonly apiServer: number;
  /** Absent on a node whose kubelet uses another CA file. */
  readonly kubelet?: number;
}

/** A node whose components listen on these ports of loopback. */
export async function contextWith(
  { apiServer, kubelet }: Ports,
  {
    clock,
    certificates = '/nonexistent/pki',
    authorities = { old, next },
    flags = [],
    ca = 'kubernetes',
  }: {
    readonly clock: Clock;
    readonly certificates?: string;
    readonly authorities?: Readonly<Record<'old' | 'next', OpensslPair>>;
    /** Further flags of kube-apiserver. */
    readonly flags?: readonly ComponentFlag[];
    readonly ca?: CaName;
  },
): Promise<CheckContext> {
  const found = await findLocalKubelet({ proc: '/nonexistent', configFile: '/nonexistent' });
  const clientCAFile = `${certificates}/ca.crt`;
  return {
    clock,
    version: '0.0.0',
    node: {
      ca,
      tree: new Tree('/'),
      directories: { kubernetes: '/nonexistent', certificates },
      components: [
        {
          name: 'kube-apiserver',
          source: { kind: 'process', pid: 1 },
          flags: [
            { name: 'bind-address', value: '127.0.0.1' },
            { name: 'secure-port', value: String(apiServer) },
            ...flags,
          ],
          sharesNetwork: true,
          hostPath: (path) => path,
        },
      ],
      ...(kubelet !== undefined && {
        kubelet: { ...found, found: true, port: kubelet, clientCAFile },
      }),
      old: await caOf(authorities.old),
      next: await caOf(authorities.next),
      found: {},
    },
  };
}

async function caOf(ca: OpensslPair): Promise<RolloverCa> {
  const object = createPrivateKey(ca.key);
  return { certificate: await parsed(ca), key: { path: '/nonexistent/ca.key', object } };
}
