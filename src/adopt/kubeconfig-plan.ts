import type { AdoptionFacts, PairState } from './facts.ts';
import { isUsable } from './facts.ts';
import type { KubeconfigFacts } from './kubeconfig-facts.ts';
import type { Obstacle, PlanPart } from './plan.ts';
import { refuse } from './plan.ts';

/** Plans a kubeconfig of the kubelet that names the `-current.pem` link for certificate and key. */
export function planKubeconfig({ client, kubeconfig, now, canBootstrap }: AdoptionFacts): PlanPart {
  switch (kubeconfig.kind) {
    case 'missing':
      // The agent writes it after its bootstrap; checkReadiness() requires a way to bootstrap.
      return {};
    case 'invalid': {
      const { message, remedy = `Correct ${kubeconfig.file}` } = kubeconfig.failure;
      return refuse({ id: 'kubeconfig-invalid', what: message, remedy });
    }
    case 'read':
      if (client === undefined || kubeconfig.follows) {
        return { obstacles: checkLoads(kubeconfig, client) };
      }
      // When the agent bootstraps, it rewrites the file.
      return !isUsable(client, now) && canBootstrap ? {} : rewrite(kubeconfig, client);
    default:
      return kubeconfig satisfies never;
  }
}

type ReadKubeconfig = Extract<KubeconfigFacts, { kind: 'read' }>;

/**
 * Refuses a kubeconfig that the agent cannot load, because the agent could not renew any
 * certificate.
 */
function checkLoads(
  { failure }: ReadKubeconfig,
  client: PairState | undefined,
): readonly Obstacle[] {
  // checkReadiness() reports a missing key pair.
  if (failure === undefined || (client !== undefined && client.pair === undefined)) return [];
  const { code, message, remedy = 'Run: nodecertd doctor' } = failure;
  const id = code === 'KUBECONFIG_UNSUPPORTED' ? 'kubeconfig-unsupported' : 'kubeconfig-invalid';
  const why = 'nodecertd cannot use this kubeconfig, so it could not renew any certificate';
  return [{ id, what: message, why, remedy }];
}

function rewrite(kubeconfig: ReadKubeconfig, client: PairState): PlanPart {
  const { file, text, found, hasCertificate, adopted } = kubeconfig;
  if (!hasCertificate) {
    return refuse({
      id: 'kubeconfig-unsupported',
      what: `${file} names no client certificate: the kubelet authenticates in another way`,
      why: 'The kubelet would not use the client certificate that nodecertd keeps',
      remedy: `Remove kubelet-client from the configuration of nodecertd, or put a client certificate of the node into ${file}`,
    });
  }
  if (adopted === undefined) {
    return refuse({
      id: 'kubeconfig-uneditable',
      what: `${file} cannot be edited: it has anchors or tags, or more than one document`,
      remedy: `Rewrite the file in a plain form: kubectl config view --raw --kubeconfig=${file} > ${file}.new && mv ${file}.new ${file}; then run this command again`,
    });
  }
  return {
    steps: [
      {
        id: 'kubeconfig',
        file,
        form: 'yaml',
        what: `client-certificate and client-key name ${client.link}`,
        why: `${file} ${found}, so a certificate that nodecertd rotates does not reach the kubelet`,
        before: text,
        after: adopted,
        mode: 0o600,
      },
    ],
    obstacles: checkLoads(kubeconfig, client),
  };
}
