import type { AdoptionFacts, PairLook } from './facts.ts';
import type { KubeconfigFacts } from './kubeconfig-facts.ts';
import { isUsable } from './readiness-checks.ts';
import type { PlanPart } from './plan.ts';
import { editYaml } from './yaml-edit.ts';

/** The kubeconfig of the kubelet names the pair that is kept, for certificate and key. */
export function planKubeconfig({ client, kubeconfig, now, canBootstrap }: AdoptionFacts): PlanPart {
  if (client === undefined) return {};
  switch (kubeconfig.kind) {
    case 'missing':
      // The agent writes it after its bootstrap; what it needs for that is checked elsewhere.
      return {};
    case 'invalid': {
      const { message, remedy = 'Correct it' } = kubeconfig.failure;
      return { obstacles: [{ id: 'kubeconfig-invalid', what: message, remedy }] };
    }
    case 'read':
      if (kubeconfig.follows) return {};
      // An agent that has to bootstrap writes it anew.
      return !isUsable(client, now) && canBootstrap ? {} : rewritten(kubeconfig, client);
    default:
      return kubeconfig satisfies never;
  }
}

function rewritten(
  { file, text, at, found, hasCertificate }: Extract<KubeconfigFacts, { kind: 'read' }>,
  { link }: PairLook,
): PlanPart {
  if (!hasCertificate) {
    return {
      obstacles: [
        {
          id: 'kubeconfig-unsupported',
          what: `${file} names no client certificate: the kubelet authenticates in another way`,
          why: 'What nodecertd keeps would be used by nobody',
          remedy: `Leave this kubelet as it is, or put a client certificate of the node into ${file}`,
        },
      ],
    };
  }
  const after = editYaml(text, [
    { path: [...at, 'client-certificate'], value: link, before: 'client-certificate-data' },
    { path: [...at, 'client-key'], value: link, before: 'client-key-data' },
    { path: [...at, 'client-certificate-data'] },
    { path: [...at, 'client-key-data'] },
  ]);
  if (after === undefined) {
    return {
      obstacles: [
        {
          id: 'kubeconfig-uneditable',
          what: `${file} is written in a way that cannot be edited without writing all of it anew`,
          remedy: `kubectl config view --raw --kubeconfig=${file} > ${file}.new && mv ${file}.new ${file}, and run this again`,
        },
      ],
    };
  }
  return {
    steps: [
      {
        id: 'kubeconfig',
        file,
        form: 'yaml',
        what: `client-certificate and client-key name ${link}`,
        why: `It ${found}, so that what nodecertd rotates does not reach the kubelet`,
        before: text,
        after,
        mode: 0o600,
      },
    ],
  };
}
